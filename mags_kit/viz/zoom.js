// The slider that enlarges a playground's image. Ctrl and the wheel, or a pinch, over the image do the same;
// the wheel alone pans, as in any frame that scrolls.
function render({ el }) {
  const slider = document.createElement("input");
  slider.type = "range";
  [slider.min, slider.max, slider.step, slider.value] = [1, 6, 0.25, 1];
  const label = document.createElement("label");
  label.className = "mags-zoom";
  label.append("zoom", slider);
  el.append(label);

  // Enlarge so that the point (x, y) of the window stays where it is; by default the middle of the frame.
  function zoom(value, x, y) {
    const frame = el.closest(".mags-playground").querySelector(".mags-frame");
    const image = frame.firstElementChild, box = frame.getBoundingClientRect();
    const [left, top] = [(x ?? box.x + box.width / 2) - box.x, (y ?? box.y + box.height / 2) - box.y];
    const [across, down] = [(frame.scrollLeft + left) / image.offsetWidth, (frame.scrollTop + top) / image.offsetHeight];
    slider.value = value;
    image.style.width = `${100 * slider.value}%`;
    frame.scrollTo(across * image.offsetWidth - left, down * image.offsetHeight - top);
  }
  function wheel(event) {
    const frame = event.ctrlKey && event.target.closest?.(".mags-frame");
    if (!frame || frame.closest(".mags-playground") !== el.closest(".mags-playground")) return;
    event.preventDefault();
    zoom(+slider.value - Math.sign(event.deltaY) * 0.25, event.clientX, event.clientY);
  }
  slider.addEventListener("input", () => zoom(+slider.value));
  document.addEventListener("wheel", wheel, { passive: false });
  return () => document.removeEventListener("wheel", wheel);
}
export default { render };
