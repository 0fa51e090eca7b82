// Asks the kernel for a step at regular times while playing. See play_button.py.

export default { initialize, render }

function initialize({ model }) {
  let waiting = false
  let timer = null
  const step = () => {
    if (waiting) return
    waiting = true
    model.send({ kind: "step" })
  }
  const follow = () => {
    clearInterval(timer)
    waiting = false
    if (model.get("playing")) timer = setInterval(step, model.get("interval"))
  }
  model.on("msg:custom", () => (waiting = false))
  model.on("change:playing", follow)
  follow()
  return () => clearInterval(timer)
}

function render({ model, el }) {
  const button = document.createElement("button")
  button.className = "jupyter-button widget-button"
  Object.assign(button.style, { width: "max-content", minWidth: "44px" }) // as wide while playing
  const show = () => {
    button.textContent = model.get("playing") ? "❚❚" : model.get("label")
    button.setAttribute("aria-label", model.get("playing") ? "pause" : model.get("action"))
  }
  button.addEventListener("click", () => {
    model.set("playing", !model.get("playing"))
    model.save_changes()
  })
  model.on("change:playing", show)
  show()
  el.append(button)
  return () => model.off("change:playing", show)
}
