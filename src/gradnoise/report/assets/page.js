"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 600px)");

  function css(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function paint(text) {
    const parts = text.slice(1).split("/");
    const hex = css(parts[0]);
    if (parts.length === 1) return hex;
    const n = parseInt(hex.slice(1), 16);
    return "rgba(" + (n >> 16) + "," + ((n >> 8) & 255) + "," + (n & 255) + "," + parts[1] + ")";
  }

  const colours = new Set(["color", "fillcolor"]);

  function painted(value, key) {
    if (Array.isArray(value)) return value.map((each) => painted(each, key));
    if (value && typeof value === "object") {
      const result = {};
      for (const name of Object.keys(value)) result[name] = painted(value[name], name);
      return result;
    }
    return colours.has(key) && typeof value === "string" && value[0] === "@" ? paint(value) : value;
  }

  function sparse(given) {
    if (!narrow.matches || !given.ticktext || given.ticktext.length < 6) return {};
    const stride = Math.ceil(given.ticktext.length / 5);
    return { ticktext: given.ticktext.map((text, i) => (i % stride ? "" : text)), tickangle: 0 };
  }

  function axis(given) {
    const grid = css("grid");
    return Object.assign(
      { gridcolor: grid, zeroline: false, linecolor: grid, tickcolor: grid, ticks: "outside", ticklen: 4, showline: true, fixedrange: narrow.matches },
      given
    );
  }

  function layout(given, height) {
    return Object.assign(
      {
        height: height,
        autosize: true,
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: css("font"), size: narrow.matches ? 12 : 13, color: css("ink") },
        margin: narrow.matches ? { l: 8, r: 8, t: 8, b: 8 } : { l: 16, r: 16, t: 8, b: 16 },
        legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", itemsizing: "constant" },
        hoverlabel: { bgcolor: css("card"), bordercolor: css("grid"), font: { color: css("ink") } },
        hovermode: "closest",
        dragmode: narrow.matches ? false : "zoom",
      },
      given,
      { xaxis: Object.assign(axis(given.xaxis), sparse(given.xaxis)), yaxis: axis(given.yaxis) }
    );
  }

  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const figures = [];

  function chosen(name) {
    const pressed = document.querySelector('input[name="' + name + '"]:checked');
    return pressed ? pressed.value : null;
  }

  function draw(figure) {
    const start = figure.place.dataset.start.split("|");
    const key = figure.names.map((name, i) => chosen(figure.id + "-" + name) || start[i]).join("|") || start[0];
    const variant = figure.variants[key];
    const height = parseInt(figure.place.style.height, 10);
    Plotly.react(figure.place, painted(variant.data), layout(painted(variant.layout), height), config);
    const notes = document.getElementById(figure.id + "-notes");
    notes.replaceChildren(
      ...variant.notes.map((sentence) => {
        const line = document.createElement("p");
        line.textContent = sentence;
        return line;
      })
    );
  }

  for (const place of document.querySelectorAll("[data-figure]")) {
    const id = place.dataset.figure;
    const names = place.dataset.names ? place.dataset.names.split("|") : [];
    const variants = JSON.parse(document.getElementById(id + "-data").textContent);
    const figure = { id, place, names, variants };
    figures.push(figure);
    for (const name of names)
      for (const button of document.querySelectorAll('input[name="' + id + "-" + name + '"]'))
        button.addEventListener("change", () => draw(figure));
    draw(figure);
  }

  for (const table of document.querySelectorAll("[data-choice]"))
    for (const button of document.querySelectorAll('input[name="' + table.dataset.choice + '"]'))
      button.addEventListener("change", () => {
        table.hidden = chosen(table.dataset.choice) !== table.dataset.value;
      });

  const again = () => figures.forEach(draw);
  dark.addEventListener("change", again);
  narrow.addEventListener("change", again);
})();
