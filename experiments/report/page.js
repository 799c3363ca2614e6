"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const config = {displaylogo: false, displayModeBar: false, responsive: true};
  const zoomable = {...config, displayModeBar: true, modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]]};

  // Colours come from the style sheet, so that figures follow the page's light or dark scheme.
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const even = list => list.map((color, i) => [i / (list.length - 1), color]);
  const palette = name => css(name).split(",").map(color => color.trim());
  const themed = (value, key) => {
    if (typeof value === "string" && value.startsWith("var(")) {
      const name = value.slice(4, -1);
      return key === "colorscale" ? even(palette(name)) : css(name);
    }
    if (Array.isArray(value)) return value.map(item => themed(item));
    if (value && typeof value === "object" && !("bdata" in value))
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, k)]));
    return value;
  };
  const withAxes = layout => {
    const style = {gridcolor: css("--grid"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true};
    for (const key of Object.keys(layout))
      if (/^[xy]axis/.test(key)) layout[key] = {...style, ...layout[key]};
    return layout;
  };
  const drawFigures = () => {
    for (const figure of data.figures)
      Plotly.react(figure.id, themed(figure.data), withAxes(themed(figure.layout)), config);
  };

  // The grid.
  const floats = text => {
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  };
  const grid = data.grid;
  const CLASSES = 10; // of loading, each one trace of lines
  const LABELS = 3; // worst overloads that carry a figure
  const state = grid && {frame: grid.first, stage: grid.stages.length - 1, timer: null};
  const matrices = grid && {
    vm: grid.vm.map(floats), loading: grid.loading.map(floats), power: (grid.power || []).map(floats),
  };
  const row = (matrix, width) => matrix
    ? matrix[state.stage].subarray(state.frame * width, (state.frame + 1) * width) : new Float32Array(width).fill(NaN);

  const ofLimit = (loading, limit) => limit === null ? loading : 100 * loading / limit;

  function scales() {
    let load = 0, deviation = 0.01;
    const limit = grid.branches.limit, n = limit.length;
    for (const m of matrices.loading) m.forEach((v, i) => { v = ofLimit(v, limit[i % n]); if (v > load) load = v; });
    for (const m of matrices.vm) for (const v of m) if (Math.abs(v - 1) > deviation) deviation = Math.abs(v - 1);
    const step = [1, 2, 5, 10].find(s => load <= s * CLASSES) || 10;
    return {step, deviation: Math.ceil(deviation * 100) / 100};
  }
  const scale = grid && scales();
  const fixed = (value, digits, unit) => Number.isFinite(value) ? value.toFixed(digits) + " " + unit : "not known";
  const power = mw => !Number.isFinite(mw) ? "" : Math.abs(mw) < 1
    ? (1000 * mw).toFixed(2) + " kW" : mw.toFixed(3) + " MW";

  function branchTraces(colors) {
    const {x0, y0, x1, y1, name, limit, trafo, open, sn_mva: size} = grid.branches;
    const n = x0.length, loading = row(matrices.loading, n);
    const traces = Array.from({length: CLASSES + 3}, () => ({x: [], y: []})); // classes, over, unknown, open
    const lines = {x: [], y: [], v: [], text: []}, trafos = {x: [], y: [], v: [], text: []}, over = {x: [], y: [], v: []};
    for (let i = 0; i < n; i++) {
      if (x0[i] === null || x1[i] === null) continue;
      const v = ofLimit(loading[i], limit[i]), above = limit[i] !== null && v > 100;
      const group = open[i] ? CLASSES + 2 : !Number.isFinite(v) ? CLASSES + 1 : above ? CLASSES
        : Math.min(CLASSES - 1, Math.floor(v / scale.step));
      traces[group].x.push(x0[i], x1[i], null);
      traces[group].y.push(y0[i], y1[i], null);
      const x = (x0[i] + x1[i]) / 2, y = (y0[i] + y1[i]) / 2, target = trafo[i] ? trafos : lines;
      target.x.push(x); target.y.push(y); target.v.push(Number.isFinite(v) ? v : null);
      const rating = limit[i] === null ? " of its rating, no limit" : " of its limit" + (limit[i] === 100 ? "" : " (" + limit[i] + " % of the rating)");
      target.text.push("<b>" + name[i] + "</b><br>" + (open[i] ? "out of service"
        : "loading " + fixed(v, 1, "%") + rating) + (trafo[i] && size[i] ? "<br>" + 1000 * size[i] + " kVA" : ""));
      if (above) { over.x.push(x); over.y.push(y); over.v.push(v); }
    }
    const thin = n > 300 ? 0.6 : 1;
    const styled = traces.map((t, k) => ({...t, type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: k >= CLASSES && t.x.length > 0,
      name: ["over the limit", "not known", "out of service"][k - CLASSES],
      line: k < CLASSES ? {color: colors[k], width: thin * (2 + 0.7 * k)} : k === CLASSES ? {color: css("--over"), width: thin * 10}
        : {color: css("--muted"), width: 1.5, dash: k === CLASSES + 1 ? "dash" : "dot"}}));
    return {styled, lines, trafos, over};
  }

  function busText(vm) {
    const {name, vn_kv, low, high} = grid.buses, peers = grid.peers;
    const mw = peers && matrices.power.length ? row(matrices.power, peers.name.length) : null;
    return name.map((label, b) => {
      const limits = low[b] === null || high[b] === null ? "" : " (" + low[b] + " to " + high[b] + ")";
      const text = ["<b>" + label + "</b>", "voltage " + fixed(vm[b], 4, "pu") + limits];
      if (vn_kv[b] !== null) text[0] += ", " + vn_kv[b] + " kV";
      if (peers) {
        for (const p of peers.at[b]) text.push(peers.name[p] + (mw ? "  " + power(mw[p]) : ""));
        if (peers.more[b]) text.push("and " + peers.more[b] + " more");
      }
      return text.join("<br>");
    });
  }

  function gridTraces() {
    const ink = css("--ink"), surface = css("--surface"), colors = palette("--loading");
    const {x, y, slack, low, high} = grid.buses, vm = row(matrices.vm.length ? matrices.vm : null, x.length);
    const {styled, lines, trafos, over} = branchTraces(colors);
    const size = x.length > 300 ? 7 : x.length > 100 ? 9 : 12;
    const hover = "%{text}<extra></extra>";
    const text = busText(vm);
    const busTrace = (has, {color, coloraxis}) => {
      const pick = [...x.keys()].filter(has), of = list => pick.map(b => list[b]);
      return {type: "scatter", mode: "markers", x: of(x), y: of(y), text: of(text), hovertemplate: hover, showlegend: false,
        marker: {symbol: pick.map(b => slack[b] ? "square" : "circle"), size: pick.map(b => slack[b] ? size + 6 : size),
          color: color(pick), ...(coloraxis && {coloraxis}), line: {width: 1.2, color: ink}}};
    };
    const out = [...x.keys()].filter(b => vm[b] < low[b] && low[b] !== null || vm[b] > high[b] && high[b] !== null);
    const beyond = b => Math.max(low[b] - vm[b], vm[b] - high[b]);
    const worst = new Set([...out].sort((a, b) => beyond(b) - beyond(a)).slice(0, 1));
    const heaviest = new Set([...over.v.keys()].sort((a, b) => over.v[b] - over.v[a]).slice(0, LABELS));
    const mark = (points, name, texts, position, color) => ({
      type: "scatter", mode: "markers+text", name, x: points.x, y: points.y, text: texts, hoverinfo: "skip",
      textposition: position, textfont: {size: 11, color}, showlegend: points.x.length > 0,
      marker: {symbol: "diamond-open", size: size + (x.length > 300 ? 5 : 10), color, line: {width: 2}}});
    return [
      ...styled,
      {type: "scatter", mode: "markers", x: lines.x, y: lines.y, text: lines.text, hovertemplate: hover, showlegend: false,
        marker: {size: x.length > 300 ? 3 : 6, opacity: 0.01, color: lines.v, coloraxis: "coloraxis"}},
      {type: "scatter", mode: "markers", name: "transformer", x: trafos.x, y: trafos.y, text: trafos.text, hovertemplate: hover,
        marker: {symbol: "hourglass", size: size + 8, color: surface, line: {width: 2, color: ink}}},
      busTrace(b => Number.isFinite(vm[b]), {color: pick => pick.map(b => vm[b]), coloraxis: "coloraxis2"}),
      busTrace(b => !Number.isFinite(vm[b]), {color: () => surface}),
      {type: "scatter", mode: "markers", name: "external grid", x: [null], y: [null], hoverinfo: "skip",
        marker: {symbol: "square", size: size + 4, color: surface, line: {width: 1.5, color: ink}}},
      mark({x: out.map(b => x[b]), y: out.map(b => y[b])}, "voltage out of band", out.map(b => worst.has(b) ? vm[b].toFixed(3) : ""), "top center", ink),
      mark(over, "overloaded", over.v.map((v, i) => heaviest.has(i) ? v.toFixed(0) + " %" : ""), "bottom center", css("--over")),
    ];
  }

  function gridLayout() {
    const bar = {orientation: "h", thickness: 12, len: 0.42, y: -0.02, yanchor: "top", outlinewidth: 0, ticks: "outside", ticklen: 4};
    const colors = palette("--loading"), top = scale.step * CLASSES;
    const steps = colors.flatMap((color, i) => [[i / CLASSES, color], [(i + 1) / CLASSES, color]]);
    const axis = {visible: false, automargin: false};
    const title = text => ({text, side: "top", font: {size: 13}});
    return {
      uirevision: "grid", modebar: {bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--ink")}, hovermode: "closest", dragmode: "pan", font: {family: css("--font"), size: 13, color: css("--ink")},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 8, r: 8, t: 8, b: 78},
      xaxis: axis, yaxis: grid.ratio ? {...axis, scaleanchor: "x", scaleratio: grid.ratio} : axis,
      legend: {x: 0, y: 1, xanchor: "left", yanchor: "top", bgcolor: "rgba(0,0,0,0)"},
      hoverlabel: {bgcolor: css("--surface"), bordercolor: css("--line"), align: "left", font: {color: css("--ink"), family: css("--font")}},
      coloraxis: {cmin: 0, cmax: top, colorscale: steps, colorbar: {...bar, x: 0.02, xanchor: "left", title: title("loading, % of the limit"), dtick: scale.step * 2}},
      coloraxis2: {cmin: 1 - scale.deviation, cmax: 1 + scale.deviation, colorscale: even(palette("--voltage")),
        colorbar: {...bar, x: 0.98, xanchor: "right", title: title("bus voltage, pu"), nticks: 6}},
    };
  }

  function drawGrid() {
    const reason = (grid.failed[state.stage] || {})[state.frame];
    const failure = document.getElementById("failure");
    failure.hidden = !reason;
    failure.innerHTML = reason ? "The power flow of this period and stage has no solution: " + reason : "";
    document.getElementById("clock").textContent = grid.frames[state.frame];
    document.getElementById("frame").value = state.frame;
    return Plotly.react("grid-plot", gridTraces(), gridLayout(), zoomable);
  }
  function goTo(frame) { state.frame = frame; drawGrid(); }
  function play() {
    const button = document.getElementById("play");
    if (state.timer) { clearInterval(state.timer); state.timer = null; button.textContent = "Play"; return; }
    button.textContent = "Pause";
    state.timer = setInterval(() => goTo((state.frame + 1) % grid.frames.length), 150);
  }
  function connect() {
    const slider = document.getElementById("frame");
    slider.addEventListener("input", () => goTo(Number(slider.value)));
    document.getElementById("play").addEventListener("click", play);
    for (const button of document.querySelectorAll(".jump"))
      button.addEventListener("click", () => goTo(Number(button.dataset.frame)));
    for (const radio of document.querySelectorAll("input[name=stage]"))
      radio.addEventListener("change", () => { state.stage = Number(radio.value); drawGrid(); });
  }

  const draw = () => { if (grid) drawGrid(); drawFigures(); };
  if (grid) connect();
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
