// Gives plots equal scales on both axes: the largest frame between the margins in their tags, in the middle, below the title.
// Used by the live figures and by exported pages.

function scaleEqually(figures) {
  const observers = []
  for (const plot of figures.roots().flatMap((root) => [...root.references()])) {
    const margins = plot.type === "Figure" && plot.tags.find((tag) => tag.margins)?.margins
    const view = margins && figures.views_manager.find_one(plot)
    if (!view) continue
    const fit = () => {
      const [left, right, bottom] = margins
      const top = Math.max(30, 12 + 14 * plot.title.text.split("\n").length) // at least the tool bar
      const [x, y] = [plot.x_range, plot.y_range].map((range) => Math.abs(range.reset_end - range.reset_start))
      const width = view.el.clientWidth - left - right
      const height = view.el.clientHeight - top - bottom
      const high = Math.max(10, Math.min(height, (width * y) / x))
      const side = Math.max(0, (width - (high * x) / y) / 2)
      plot.setv({
        min_border_left: Math.floor(left + side),
        min_border_right: Math.floor(right + side),
        min_border_top: top,
        min_border_bottom: Math.floor(bottom + height - high),
      })
    }
    const observer = new ResizeObserver(fit)
    observer.observe(view.el)
    plot.x_range.change.connect(fit)
    plot.y_range.change.connect(fit)
    plot.title.change.connect(fit)
    observers.push(observer)
  }
  return () => observers.forEach((observer) => observer.disconnect())
}
