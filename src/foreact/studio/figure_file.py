"""A figure of a page as an SVG or PNG file: what stands there, as it looks there, and nothing to load."""

from __future__ import annotations

import json

from nicegui import ui

# Browsers draw figures by the page's style, which a file does not have: every shape takes along what it came out as.
# Panels are pictures in a picture; captions, keys and bars, which are no shapes, become letters and rectangles.
_FIGURE = """() => {
  const root = document.getElementById(ID), frame = root.getBoundingClientRect();
  const names = ['fill', 'fill-opacity', 'stroke', 'stroke-opacity', 'stroke-width', 'stroke-dasharray',
    'stroke-linecap', 'stroke-linejoin', 'vector-effect', 'paint-order', 'font-family', 'font-size', 'font-weight'];
  const make = (name, values, letters) => {
    const of = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in values) of.setAttribute(key, values[key]);
    if (letters) of.textContent = letters;
    return of;
  };
  const onCanvas = (image, width, height) => {
    const canvas = Object.assign(document.createElement('canvas'), {width, height});
    canvas.getContext('2d').drawImage(image, 0, 0, width, height);
    return canvas;
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
      const isInPage = of.src.startsWith('data:');
      const href = isInPage ? of.src : onCanvas(of, of.naturalWidth, of.naturalHeight).toDataURL('image/png');
      sheet.append(make('image', {...place, href, preserveAspectRatio: 'none'}));
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
  const letters = new XMLSerializer().serializeToString(sheet);
  if (NAME.endsWith('.svg')) return save(new Blob([letters], {type: 'image/svg+xml'}));
  const image = new Image();
  image.onload = () => onCanvas(image, 2 * width, 2 * height).toBlob(save, 'image/png');
  image.src = 'data:image/svg+xml,' + encodeURIComponent(letters);
}"""
# What a canvas of WebGL holds is gone when the browser has shown it.
_SCENE = """() => {
  const view = getElement(ELEMENT);
  view.renderer.render(view.scene, view.camera);
  view.renderer.domElement.toBlob(save, 'image/png');
}"""
_WITH_SAVE = """() => {
  const save = (file) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(file);
    link.download = NAME;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  (DRAW)();
}"""


def save_buttons(figure: ui.element, name: str) -> ui.element:
    """Add buttons that save what an element shows as `NAME.svg` or `NAME.png`, in the browser: nothing is sent."""
    with ui.element("div").classes("row") as row:
        for kind in ("SVG", "PNG"):
            _button(_FIGURE.replace("ID", json.dumps(figure.html_id)), name, kind)
    return row


def save_scene_button(scene: ui.scene, name: str) -> ui.button:
    """Add a button that saves a scene in three dimensions, as it is looked at, as `NAME.png`."""
    return _button(_SCENE.replace("ELEMENT", str(scene.id)), name, "PNG")


def _button(draw: str, name: str, kind: str) -> ui.button:
    button = ui.button(f"Save as {kind}").props(f'flat dense no-caps size=sm aria-label="save {name} as {kind}"')
    handler = _WITH_SAVE.replace("DRAW", draw).replace("NAME", json.dumps(f"{name}.{kind.lower()}"))
    return button.on("click", js_handler=handler)
