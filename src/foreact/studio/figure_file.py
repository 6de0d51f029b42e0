"""A figure of a page as an SVG file: what stands there, with the colours it has there, and nothing to load."""

from __future__ import annotations

import json

from nicegui import ui

# Browsers draw figures by the page's style, which a file does not have: every shape takes along what it came out as.
# Panels are pictures in a picture; captions, keys and bars, which are no shapes, become letters and rectangles.
_SAVE = """() => {
  const root = document.getElementById(ID), frame = root.getBoundingClientRect();
  const names = ['fill', 'fill-opacity', 'stroke', 'stroke-opacity', 'stroke-width', 'stroke-dasharray',
    'stroke-linecap', 'stroke-linejoin', 'vector-effect', 'paint-order', 'font-family', 'font-size', 'font-weight'];
  const make = (name, values, letters) => {
    const of = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in values) of.setAttribute(key, values[key]);
    if (letters) of.textContent = letters;
    return of;
  };
  const ground = getComputedStyle(root.closest('.card')).backgroundColor;
  const edge = 12, width = frame.width + 2 * edge, height = frame.height + 2 * edge;
  const sheet = make('svg', {viewBox: `${-edge} ${-edge} ${width} ${height}`, width, height});
  sheet.append(make('rect', {x: -edge, y: -edge, width, height, fill: ground}));
  for (const of of root.querySelectorAll('svg, img, figcaption, .key, .said, .bar span, .track, .fill')) {
    const box = of.getBoundingClientRect(), style = getComputedStyle(of);
    const place = {x: box.x - frame.x, y: box.y - frame.y, width: box.width, height: box.height};
    if (!box.width || !box.height || of.closest('button')) continue;
    if (of.tagName === 'IMG') {
      sheet.append(make('image', {...place, href: of.src, preserveAspectRatio: 'none'}));
    } else if (of.tagName === 'svg') {
      sheet.append(make('rect', {...place, fill: style.backgroundColor}));
      const copy = of.cloneNode(true), shapes = copy.querySelectorAll('*');
      of.querySelectorAll('*').forEach((shape, i) => {
        const seen = getComputedStyle(shape);
        for (const name of names) shapes[i].style.setProperty(name, seen.getPropertyValue(name));
      });
      for (const key in place) copy.setAttribute(key, place[key]);
      sheet.append(copy);
    } else if (of.matches('.key')) {
      sheet.append(make('rect', {...place, fill: style.borderTopColor}));
    } else if (of.matches('.track, .fill')) {
      sheet.append(make('rect', {...place, fill: style.backgroundColor}));
    } else {
      sheet.append(make('text', {x: place.x, y: place.y + 0.75 * parseFloat(style.lineHeight || 16), fill: style.color,
        'font-family': style.fontFamily, 'font-size': style.fontSize}, of.innerText));
    }
  }
  const file = new Blob([new XMLSerializer().serializeToString(sheet)], {type: 'image/svg+xml'});
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = NAME;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


def save_button(figure: ui.element, name: str) -> ui.button:
    """Add a button that saves what an element shows as `NAME.svg`, in the browser: nothing is sent anywhere."""
    button = ui.button("Save as SVG").props(f'flat dense no-caps size=sm aria-label="save {name} as SVG"')
    handler = _SAVE.replace("ID", json.dumps(figure.html_id)).replace("NAME", json.dumps(f"{name}.svg"))
    return button.on("click", js_handler=handler)
