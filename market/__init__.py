"""The virtual layer: order books, clearing mechanisms and settlement, as pure functions of arrays.

It knows no bus and no line, and works without agents:

    from peerwatt.market.book import StepBook
    from peerwatt.market.mechanism import make_mechanism

    book = StepBook([0, 1], p_mw=[0.004, -0.003], price_eur_per_mwh=[90, 250], n_agents=2, period_h=0.25)
    clearing = make_mechanism("double_auction", k=0.5).clear(book, np.random.default_rng(1))
"""
