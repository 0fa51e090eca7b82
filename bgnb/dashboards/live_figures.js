// Shows the Bokeh figures of a kernel and applies its changes. See live_figures.py.

export default { render }

async function render({ model, el }) {
  const view = Math.random().toString(36).slice(2)
  let figures = null // the Bokeh document once it is shown
  let missed = null // patches received while the document is made
  let stopWatching = () => {}
  let loaded = () => {}
  let gone = false

  // The first figure is drawn before the others are changed, as drawing all of them takes longer.
  let changeOthers = () => {}
  const apply = ({ patches, ids, texts }, buffers) => {
    const named = new Map(ids.map((id, i) => [id, bytes(buffers[i])]))
    const change = (patch) => figures.apply_json_patch(JSON.parse(patch), named)
    changeOthers()
    changeOthers = () => {
      changeOthers = () => {}
      change(patches[1])
      describe(figures, texts)
    }
    try {
      change(patches[0])
    } finally {
      document.hidden ? changeOthers() : requestAnimationFrame(() => setTimeout(() => changeOthers()))
    }
  }

  // A cell that is scrolled out of view may not be attached to the page, and Bokeh can only draw there.
  const ask = async () => {
    while (!el.isConnected && !gone) await new Promise((go) => setTimeout(go, 50))
    if (!gone) model.send({ kind: "need figures", view })
  }

  const show = async ({ item, texts }) => {
    missed = []
    el.replaceChildren()
    let shown
    try {
      shown = await Bokeh.embed.embed_item(JSON.parse(item), el)
    } catch {
      missed = null // the element was removed from the page meanwhile
      return ask()
    }
    figures = [...shown][0].model.document
    if (gone) return forget(figures)
    describe(figures, texts)
    for (const [message, buffers] of missed) apply(message, buffers)
    missed = null
    report(figures, model)
    const dashboard = el.closest(".bgnb-dashboard") ?? el
    name(dashboard)
    const stops = [followTheme(figures), scaleEqually(figures), keepKeys(dashboard)]
    stopWatching = () => stops.forEach((stop) => stop())
  }

  const listen = (message, buffers) => {
    if (message.kind === "patch") figures === null ? missed?.push([message, buffers]) : apply(message, buffers)
    if (message.kind === "copy") navigator.clipboard?.writeText(message.text).catch(() => {})
    if (message.view !== view) return
    if (message.kind === "figures") el.isConnected ? show(message) : ask()
    if (message.kind === "bokeh") {
      if (!ready(model)) run(new TextDecoder().decode(buffers[0]))
      loaded()
    }
  }
  model.on("msg:custom", listen)

  if (!ready(model)) {
    const loading = new Promise((resolve) => (loaded = resolve))
    model.send({ kind: "need bokeh", view })
    await loading
  }
  ask()
  return () => {
    gone = true
    model.off("msg:custom", listen)
    stopWatching()
    changeOthers = () => {}
    if (figures !== null) forget(figures)
  }
}

function forget(figures) {
  figures.clear()
  const index = Bokeh.documents.indexOf(figures)
  if (index >= 0) Bokeh.documents.splice(index, 1)
}

const ready = (model) => window.Bokeh?.version === model.get("bokeh_version")

const bytes = (data) => data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)

function run(source) {
  const script = document.createElement("script")
  script.textContent = source
  document.head.append(script)
}

// Sends taps and selections to Python, which alone decides how to respond.
function report(figures, model) {
  for (const plot of modelsOf(figures).filter((model) => model.type === "Figure")) {
    plot.on_event("tap", ({ x, y, modifiers }) =>
      model.send({ kind: "tap", panel: plot.name, x, y, add: modifiers?.shift ?? false, ...visible(plot) }))
    plot.on_event("selectiongeometry", ({ geometry, final }) => {
      if (final && geometry.type === "rect")
        model.send({ kind: "select", panel: plot.name, x: [geometry.x0, geometry.x1], y: [geometry.y0, geometry.y1] })
    })
  }
}

// Visible width and height of the axes.
const visible = ({ x_range, y_range }) =>
  ({ width: Math.abs(x_range.end - x_range.start), height: Math.abs(y_range.end - y_range.start) })

const modelsOf = (figures) => figures.roots().flatMap((root) => [...root.references()])

// Follows the theme of the page: light text on dark pages, and vice versa.
function followTheme(figures) {
  const paint = () => {
    const dark = document.body.dataset.jpThemeLight === "false" || document.body.classList.contains("vscode-dark")
    const ink = dark ? "#e0e0e0" : "#333333"
    const ground = dark ? "#111111" : "#ffffff"
    const grid = dark ? "#3a3a3a" : "#e5e5e5"
    for (const model of modelsOf(figures)) {
      if (model.type === "Figure") {
        model.setv({ border_fill_color: ground, background_fill_color: ground, outline_line_color: grid })
      } else if (/Axis$/.test(model.type)) {
        const line = { axis_line_color: ink, major_tick_line_color: ink, minor_tick_line_color: ink }
        model.setv({ axis_label_text_color: ink, major_label_text_color: ink, ...line })
      } else if (model.type === "Grid") model.setv({ grid_line_color: grid })
      else if (model.type === "Title") model.setv({ text_color: ink })
      else if (model.type === "Text") {
        const plate = dark ? "rgba(17, 17, 17, 0.6)" : "rgba(255, 255, 255, 0.6)"
        model.setv({ text_color: { value: ink }, background_fill_color: { value: plate } })
      } else if (model.type === "Legend") model.setv({ label_text_color: ink, background_fill_color: ground })
      else if (model.type === "ColorBar") model.setv({ background_fill_color: ground, major_label_text_color: ink })
    }
  }
  paint()
  const watcher = new MutationObserver(paint)
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] })
  return () => watcher.disconnect()
}

// Names figures for screen readers, by sentences on their content. The Tab key skips what is inside.
function describe(figures, texts) {
  const plots = figures.roots().flatMap((root) => root.children)
  plots.forEach((plot, i) => {
    const { el } = figures.views_manager.get_one(plot)
    el.setAttribute("role", "img")
    el.setAttribute("aria-label", texts[i])
    el.tabIndex = -1
  })
}

// Names sliders and buttons of ipywidgets for screen readers.
function name(dashboard) {
  for (const handle of dashboard.querySelectorAll(".noUi-handle")) {
    const label = handle.closest(".widget-slider")?.querySelector(".widget-label")?.textContent
    const end = handle.classList.contains("noUi-handle-lower") ? "first" : "last"
    if (label) handle.setAttribute("aria-label", `${end} ${label}`)
  }
  for (const button of dashboard.querySelectorAll("button[title]")) button.setAttribute("aria-label", button.title)
}

// Leaves keys to the control that has the focus: JupyterLab would go to another cell, or cut this one.
function keepKeys(dashboard) {
  const keep = ({ target, ctrlKey, metaKey, altKey, shiftKey }) => {
    if (!dashboard.contains(target)) return
    target.toggleAttribute("data-lm-suppress-shortcuts", !(ctrlKey || metaKey || altKey || shiftKey))
  }
  window.addEventListener("keydown", keep, true) // before JupyterLab
  return () => window.removeEventListener("keydown", keep, true)
}
