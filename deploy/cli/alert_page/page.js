"use strict";
for (const viewer of document.querySelectorAll(".viewer")) {
  const heat = viewer.querySelector(".heat");
  const strength = viewer.querySelector("input[type=range]");
  const shown = viewer.querySelector("input[type=checkbox]");
  if (!heat || !strength || !shown) continue;
  const draw = () => { heat.style.opacity = shown.checked ? strength.value / 100 : 0; };
  strength.addEventListener("input", () => { shown.checked = true; draw(); });
  shown.addEventListener("change", draw);
  draw();
}
