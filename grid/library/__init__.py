"""Cases by name: one function for each, with its source; the registry that finds them.

- `catalog`: the registry, and what a case function returns
- `baran_wu`, `zhang`, `rbts`, `cigre`, `european_lv`: the shipped cases
- `matpower`, `matpower_text`: files in MATPOWER's format
- `ratings`: line ratings for cases that have none
- `tables`: the CSV files in `grid/data`
"""
