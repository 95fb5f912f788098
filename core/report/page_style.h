/* How pages look, and the few lines that sort their tables. Only page.c includes this. */
#ifndef CLVI_REPORT_PAGE_STYLE_H
#define CLVI_REPORT_PAGE_STYLE_H

static const char *const page_style[] = {
    ":root{color-scheme:light dark;--ink:#1c1f23;--soft:#5b636d;--paper:#fff;--line:#dde1e6;"
    "--band:#f6f7f9;--s1:#0072b2;--s2:#d55e00;--s3:#00875f;--s4:#b0569b;--s5:#a87900;"
    "--s6:#5b636d;--s7:#4a3aa7}\n",
    "@media screen and (prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#9aa3ad;"
    "--paper:#101418;--line:#2c333b;--band:#171c22;--s1:#56b4e9;--s2:#ff8f4d;--s3:#35c79a;"
    "--s4:#e39bd0;--s5:#e3b341;--s6:#9aa3ad;--s7:#a99cff}}\n",
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}\n",
    "body{margin:0 auto;padding:1.25rem 1rem 4rem;max-width:74rem;color:var(--ink);"
    "background:var(--paper);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",\"DejaVu "
    "Sans\",sans-serif}\n",
    "h1{font-size:1.6rem;line-height:1.25;margin:.25rem 0 .5rem;overflow-wrap:anywhere}\n",
    "h2{font-size:1.2rem;margin:0 0 .75rem;padding-top:1.5rem}\n",
    "h3{font-size:1rem;margin:1.75rem 0 .5rem}\n",
    "p{max-width:46rem;margin:.5rem 0}\n",
    ".note{color:var(--soft);font-size:.875rem}\n",
    "a{color:var(--s1)}nav{font-size:.875rem;display:flex;flex-wrap:wrap;gap:.25rem 1rem;"
    "margin:.75rem 0 0}nav a{text-decoration:none}nav a:hover{text-decoration:underline}\n",
    "section{border-top:1px solid var(--line);margin-top:2rem}\n",
    "code,pre{font:.8125rem/1.5 ui-monospace,SFMono-Regular,Menlo,\"DejaVu Sans "
    "Mono\",monospace}\n",
    "pre{overflow-x:auto;background:var(--band);padding:.75rem;border-radius:.375rem;margin:.5rem "
    "0}\n",
    ".command{white-space:pre-wrap;overflow-wrap:anywhere}\n",
    ".scroll{overflow:auto;max-width:100%;width:fit-content}.long{max-height:40rem}\n",
    "table{border-collapse:collapse;font-size:.875rem;line-height:1.4;white-space:nowrap}\n",
    "th,td{padding:.3rem .75rem;border-bottom:1px solid var(--line);text-align:left;"
    "font-weight:400;vertical-align:baseline}\n",
    "th:first-child,td:first-child{padding-left:.25rem}\n",
    "thead th{position:sticky;top:0;z-index:2;background:var(--paper);color:var(--soft);"
    "font-size:.8125rem;vertical-align:bottom}\n",
    "tbody th{position:sticky;left:0;z-index:1;background:var(--paper);max-width:48vw;"
    "white-space:normal;overflow-wrap:break-word}\n",
    ".n{text-align:right;font-variant-numeric:tabular-nums}\n",
    ".sort thead th{cursor:pointer}.sort thead th:hover{color:var(--ink)}"
    "th[aria-sort=ascending]::after{content:\" ↑\"}th[aria-sort=descending]::after{content:\" "
    "↓\"}\n",
    "details{margin:.5rem 0}summary{cursor:pointer;color:var(--s1);font-size:.875rem;"
    "width:fit-content}\n",
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem;"
    "margin:1.25rem 0 0}.tiles div{min-width:0}\n",
    ".tiles dt{color:var(--soft);font-size:.8125rem}.tiles dd{margin:0;font-size:1.35rem;"
    "line-height:1.3;font-variant-numeric:tabular-nums}.tiles dd small{display:block;"
    "font-size:.8125rem;color:var(--soft)}\n",
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20.5rem,100%),1fr));"
    "gap:1.5rem 1.75rem;margin:.75rem "
    "0}.pairs{grid-template-columns:repeat(auto-fill,minmax(min(20.5rem,100%),27rem))}.plots:empty{"
    "display:none}\n",
    "figure{margin:0;min-width:0;max-width:27rem}figcaption{font-size:.875rem;margin:0 0 .25rem}\n",
    "svg{display:block;width:100%;height:auto;font:11px system-ui,-apple-system,\"Segoe "
    "UI\",\"DejaVu Sans\",sans-serif;font-variant-numeric:tabular-nums}\n",
    "svg text{fill:var(--soft)}svg path{fill:none;stroke:currentColor;stroke-linejoin:round}"
    "svg circle{fill:currentColor}svg .pale{opacity:.35}\n",
    ".s1{color:var(--s1)}.s2{color:var(--s2)}.s3{color:var(--s3)}.s4{color:var(--s4)}"
    ".s5{color:var(--s5)}.s6{color:var(--s6)}.s7{color:var(--s7)}"
    ".axis{color:var(--soft)}.grid{color:var(--line)}\n",
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem .9rem;margin:.25rem 0 0;"
    "padding:0;font-size:.8125rem;color:var(--soft)}.legend li{overflow-wrap:anywhere}\n",
    ".legend i{display:inline-block;width:1.1rem;border-top:2px solid;margin:0 .35rem .25rem 0}"
    ".legend .d1{border-top-style:dashed}.legend .d2{border-top-style:dotted}\n",
    ".heat td{text-align:right;font-variant-numeric:tabular-nums;border:1px solid var(--paper);"
    "padding:.2rem .5rem;min-width:3.6rem;background:color-mix(in srgb,var(--s1) "
    "var(--v,0%),var(--band))}.heat td.neg{background:color-mix(in srgb,var(--s2) "
    "var(--v,0%),var(--band))}.heat td.hi{color:var(--paper)}\n",
    ".heat thead th{text-align:right;white-space:normal;overflow-wrap:anywhere}.heat thead "
    "th:first-child{text-align:left}"
    ".heat tbody th{border-bottom:0}\n",
    ".small td{min-width:.95rem;width:.95rem;height:.95rem;padding:0;line-height:1}"
    ".small th,.small thead th{padding:0 .5rem 0 0;font-size:.7rem;line-height:1.3}"
    ".small thead th{padding:0 0 "
    ".2rem;font-size:.6rem;text-align:center;font-variant-numeric:tabular-nums}"
    ".small tbody th{white-space:nowrap;max-width:none}.wrap td{white-space:normal;"
    "overflow-wrap:anywhere}.wrap tbody th{min-width:8rem}\n",
    ".small td.same{background:color-mix(in srgb,var(--s6) var(--v,0%),var(--band))}\n",
    ".matrices{display:flex;flex-wrap:wrap;gap:1.25rem 2.5rem;margin:1rem 0}"
    ".matrices figure{max-width:100%}\n",
    ".mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(7.5rem,1fr));gap:1.25rem "
    "1rem}.mistakes figure{font-size:.8125rem;line-height:1.35}.mistakes figcaption{margin:.35rem "
    "0 0;font-size:.8125rem;overflow-wrap:anywhere}.mistakes img{display:block;width:6rem;"
    "height:6rem;object-fit:contain;background:var(--band);border-radius:.25rem;"
    "image-rendering:auto}.mistakes img.tiny{image-rendering:pixelated}.mistakes "
    "small{color:var(--soft)}\n",
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(15rem,100%),1fr));"
    "gap:1.75rem 1.5rem;margin:1rem 0}.cards figcaption{margin:.5rem 0 0;overflow-wrap:anywhere}"
    ".cards img{display:block;width:100%;max-width:24rem;height:auto;border-radius:.25rem;"
    "background:var(--band)}.cards img.tiny{image-rendering:pixelated}.cards "
    "small,.cards .note{color:var(--soft);font-size:.8125rem}\n",
    ".chances{list-style:none;margin:.35rem 0;padding:0;max-width:24rem}.chances "
    "li{display:flex;justify-content:space-between;gap:.75rem;padding:.05rem "
    ".35rem;margin:0 0 .1rem;font-variant-numeric:tabular-nums;white-space:nowrap;"
    "background:linear-gradient(to right,color-mix(in srgb,var(--s1) 28%,transparent) "
    "var(--p),transparent 0)}.chances span{white-space:normal;overflow-wrap:anywhere}"
    ".chances .it{font-weight:600}\n",
    "@media print{body{max-width:none;padding:0;font-size:10pt}nav,.sort thead "
    "th::after{display:none}.scroll{max-height:none;overflow:visible}thead th,tbody "
    "th{position:static}figure,tr{break-inside:avoid}h2,h3{break-after:avoid}"
    ".cards{grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))}"
    ".heat td,.chances li{print-color-adjust:exact;-webkit-print-color-adjust:exact}}\n"};

/* A click on a heading sorts by its column, the next one the other way round; what is not known
 * stays below. Without it the tables stand as they are. */
static const char *const page_script[] = {
    "document.querySelectorAll('table.sort').forEach(function(t){\n",
    "var h=Array.prototype.slice.call(t.tHead.rows[0].cells),b=t.tBodies[0];\n",
    "function value(r,i){var x=r.cells[i].textContent.trim(),y=x.replace(/[,%]/g,'').trim();\n",
    "return x==='–'?null:y===''?x:isNaN(y)?x:+y}\n",
    "h.forEach(function(c,i){c.tabIndex=0;function go(){var before=c.getAttribute('aria-sort'),\n",
    "up=before?before==='descending':!c.classList.contains('n');\n",
    "h.forEach(function(o){o.removeAttribute('aria-sort')});\n",
    "c.setAttribute('aria-sort',up?'ascending':'descending');\n",
    "Array.prototype.slice.call(b.rows).sort(function(p,q){var x=value(p,i),y=value(q,i),o;\n",
    "if(x===null||y===null)return(x===null)-(y===null);\n",
    "o=typeof x==='string'||typeof y==='string'?\n",
    "String(x).localeCompare(String(y),undefined,{numeric:true}):x-y;return up?o:-o})\n",
    ".forEach(function(r){b.appendChild(r)})}\n",
    "c.onclick=go;c.onkeydown=function(e){if(e.key==='Enter'||e.key===' ')",
    "{e.preventDefault();go()}}})});\n"};

#endif
