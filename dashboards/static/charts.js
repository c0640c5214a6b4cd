// The one place that calls Plotly. Static SVG is there first; a drawn figure replaces it on screen.
"use strict";
(() => {
  // No mode bar: it would create a <style> element, which the policy blocks, and a share button.
  const CONFIG = {
    displayModeBar: false,
    displaylogo: false,
    plotlyServerURL: "",
    responsive: true,
    scrollZoom: false,
    showSendToCloud: false,
  };

  async function draw(figure) {
    const source = figure.querySelector('script[type="application/json"]');
    const narrow = window.matchMedia("(max-width: 40rem)").matches; // the SVG scrolls instead
    if (!source || narrow || figure.classList.contains("live") || !window.Plotly) return;
    const drawing = JSON.parse(source.textContent);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.setAttribute("aria-hidden", "true"); // the SVG and the table are the content
    figure.prepend(plot);
    figure.classList.add("live");
    try {
      await window.Plotly.newPlot(plot, drawing.data, drawing.layout, CONFIG);
      figure.dataset.drawn = "yes";
    } catch (error) {
      figure.classList.remove("live"); // the static figure stays
      plot.remove();
      console.error(`figure ${figure.id}: ${error}`);
    }
  }

  const drawAll = (root) => root.querySelectorAll("figure[data-live]").forEach(draw);

  function focusOnErrors(root) {
    const summary = root.querySelector("[data-errors]");
    if (summary) summary.focus();
  }

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    focusOnErrors(document);
  });
  document.addEventListener("htmx:after:swap", () => {
    drawAll(document);
    focusOnErrors(document);
  });
})();
