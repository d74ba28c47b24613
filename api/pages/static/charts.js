// Draws the Vega-Lite specs of a page in the colours of its theme. Loaded only where a page has a chart.
"use strict";

const styles = getComputedStyle(document.documentElement);
const colour = (name) => styles.getPropertyValue(name).trim();
const AXIS = 56; // px for the labels of the vertical axis, the same in all small multiples, so that times line up

// "var(--chart-series)" anywhere in a spec is the colour of that name in the theme of the moment.
function themed(part) {
  if (typeof part === "string") return part.replace(/var\((--[\w-]+)\)/g, (_, name) => colour(name));
  if (Array.isArray(part)) return part.map(themed);
  if (part && typeof part === "object") return Object.fromEntries(Object.entries(part).map(([k, v]) => [k, themed(v)]));
  return part;
}

function config() {
  const [ink, muted, grid] = ["--chart-ink", "--chart-muted", "--chart-grid"].map(colour);
  const font = getComputedStyle(document.body).fontFamily;
  return {
    background: "transparent", font, padding: 4,
    view: { stroke: null },
    axis: {
      labelColor: muted, titleColor: muted, domainColor: grid, tickColor: grid, gridColor: grid, labelFontSize: 12, titleFontSize: 12,
      titleFontWeight: "normal", labelLimit: 140,
    },
    axisY: { minExtent: AXIS - 16 }, axisTemporal: { grid: false },
    legend: { labelColor: ink, titleColor: muted, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", orient: "top" },
    title: { color: ink, fontSize: 13, fontWeight: 600, anchor: "start" },
    header: { labelColor: ink, titleColor: muted },
    mark: { color: colour("--chart-series") }, rule: { color: muted }, text: { color: ink, fontSize: 12 },
    range: { category: ["--chart-series", "--chart-second", "--chart-third", "--chart-version", "--chart-alarm", "--chart-muted"].map(colour) },
  };
}

// Widths in px for specs of several parts: Vega-Lite knows "container" only for single ones.
function sized(spec, width, height) {
  const parts = spec.vconcat || spec.concat;
  if (parts) return { ...spec, [spec.vconcat ? "vconcat" : "concat"]: parts.map((p) => sized(p, width, 0)) };
  if (spec.facet || spec.hconcat || spec.repeat) return spec;
  if (height) return { ...spec, width: "container", height: height - 8, autosize: { type: "fit", contains: "padding" } };
  return { ...spec, width: spec.width === "container" || !spec.width ? Math.max(160, width - AXIS - 24) : spec.width };
}

async function draw(place) {
  const found = JSON.parse(document.getElementById(place.dataset.spec).textContent);
  const many = found.vconcat || found.concat;
  const spec = themed(sized(found, place.clientWidth, many ? 0 : place.clientHeight));
  place.view?.finalize();
  const drawn = await vegaEmbed(place, spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, hover: false,
    tooltip: { disableDefaultStyle: true, theme: "assay" }, config: config(), logLevel: 1,
  });
  place.view = drawn.view;
  place.drawnAt = place.clientWidth;
  place.classList.toggle("many", Boolean(many));
  place.querySelector("svg")?.setAttribute("aria-hidden", "true"); // the place itself has role and name
}

async function drawAll(places) {
  for (const place of places) {
    try {
      await draw(place);
      place.dataset.state = "drawn";
    } catch (fault) {
      place.dataset.state = "failed";
      place.textContent = "This chart could not be drawn; its figures are in the table below.";
      console.error(fault);
    }
  }
}

const places = () => [...document.querySelectorAll(".drawn")];
window.assayCharts = () => drawAll(places());
window.assayCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", window.assayCharts);
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => drawAll(places().filter((p) => p.classList.contains("many") && p.drawnAt !== p.clientWidth)), 200);
});
