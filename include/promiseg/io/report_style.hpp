// How a report looks: on a light screen, on a dark one, and on paper.
#pragma once

#include <string_view>

namespace promiseg::detail {

/// The style sheet. It names no file and no address.
inline constexpr std::string_view kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #22262b; --soft: #5c646e; --rule: #e2dfd8;
  --accent: #0a6591;
  --chart-1: #0072b2; --chart-2: #d55e00; --chart-3: #009e73;
  --chart-4: #cc79a7; --chart-5: #e69f00; --chart-6: #56b4e9; --chart-grid: #e6e3dc;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1b1f23; --ink: #e3e5e7; --soft: #9ba4ae; --rule: #2e343a;
    --accent: #78bfe3;
    --chart-1: #56a8dc; --chart-2: #ec8a4f; --chart-3: #38b893;
    --chart-4: #d79bbd; --chart-5: #e6b445; --chart-6: #9db7d6; --chart-grid: #2c3238;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; text-rendering: optimizeLegibility;
}
main { max-width: 70rem; margin: 0 auto; padding: 4rem 2rem 5rem; }
h1, h2 { font-weight: 600; line-height: 1.25; letter-spacing: -.012em; text-wrap: balance; }
h1 { margin: 0; font-size: 2.1rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 1.4rem; font-size: 1.35rem; }
h3 { margin: 0 0 .6rem; font-size: 1rem; font-weight: 600; }
p { margin: 0 0 1rem; max-width: 46rem; text-wrap: pretty; }
section { margin-top: 4.5rem; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .2em; }
nav { margin-top: 1.2rem; display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; font-size: .95rem; }
dl { margin: 0; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.figures { margin-top: 2.6rem; display: flex; flex-wrap: wrap; gap: 1.6rem 3.6rem; }
.figures dd { font-size: 2.4rem; line-height: 1.2; font-weight: 600; letter-spacing: -.02em; }
.figures div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.facts {
  margin-top: 2.6rem; padding-top: 1.6rem; border-top: 1px solid var(--rule);
  display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.1rem 2.4rem;
}
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; line-height: 1.4; }
th, td { padding: .55rem .8rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--rule); }
th:first-child, td:first-child { padding-left: 0; }
tbody th, thead tr:first-child th:first-child { text-align: left; }
.summary th, .summary td { padding: .55rem; }
.summary th:first-child { padding-left: 0; }
.summary thead th[colspan] { color: var(--ink); font-weight: 600; text-align: left; }
.summary .first { padding-left: 1.7rem; }
.summary td.first { font-weight: 600; }
.notes { margin: 1.6rem 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .92rem; }
.notes li { max-width: 46rem; margin-bottom: .4rem; }
.charts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 2.6rem 3rem;
}
.charts div { max-width: 36rem; }
.chart { display: block; width: 100%; height: auto; color: var(--soft); font-family: inherit; }
.key { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: 0 0 1.2rem; padding: 0; }
.key li { display: flex; align-items: center; gap: .7rem; list-style: none; }
.key i { width: 1.9rem; height: .3rem; border-radius: .15rem; box-shadow: 0 0 0 .16rem #4c4c4c; }
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr));
  gap: 1.8rem 1.5rem; margin: 1.8rem 0;
}
figure {
  margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  overflow: hidden;
}
figure:target { outline: 2px solid var(--accent); outline-offset: 2px; }
figure img {
  display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #0c0d0e;
}
figcaption { padding: .8rem 1rem .95rem; font-size: .92rem; line-height: 1.45; }
figcaption .name { display: block; overflow-wrap: anywhere; }
figcaption .rank, .note { color: var(--soft); }
figcaption .rank { margin-right: .5rem; }
figcaption .scores { display: block; margin-top: .2rem; color: var(--soft); }
figcaption .scores b { margin: 0 1rem 0 .2rem; color: var(--ink); font-weight: 600; }
figcaption .note { display: block; margin-top: .2rem; }
summary { cursor: pointer; color: var(--accent); }
.cases { width: 100%; }
.cases tbody th { font-weight: 400; white-space: normal; overflow-wrap: anywhere; }
.cases th:nth-child(2) { width: 45%; text-align: left; }
.cases td:first-child { color: var(--soft); text-align: left; }
.cases .note { text-align: left; white-space: normal; }
footer {
  margin-top: 5rem; padding-top: 1.4rem; border-top: 1px solid var(--rule);
  color: var(--soft); font-size: .9rem;
}
@media (max-width: 40rem) { main { padding: 2.2rem 1.1rem 3rem; } section { margin-top: 3.2rem; } }
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --card: #ffffff; --ink: #000000; --soft: #444444; --rule: #cccccc;
    --accent: #000000;
    --chart-1: #0072b2; --chart-2: #d55e00; --chart-3: #009e73;
    --chart-4: #cc79a7; --chart-5: #e69f00; --chart-6: #56b4e9; --chart-grid: #dddddd;
  }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { margin-top: 2.2rem; }
  nav { display: none; }
  a { text-decoration: none; }
  h2, h3 { break-after: avoid; }
  figure, tr, .charts div { break-inside: avoid; }
  .gallery { grid-template-columns: repeat(4, 1fr); gap: .8rem; }
  .charts { grid-template-columns: 1fr 1fr; gap: 1.4rem; }
  figcaption { padding: .5rem .6rem .6rem; font-size: 7.5pt; }
  figcaption .scores b { margin-right: .5rem; }
  details { display: none; }
  .wide { overflow: visible; }
  th, td { padding: .25rem .5rem; }
  .summary { font-size: 7.5pt; }
  .summary th, .summary td { padding: .3rem .4rem; }
  .summary .first { padding-left: .9rem; }
}
)css";

}  // namespace promiseg::detail
