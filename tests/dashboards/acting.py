"""What tests do with a dashboard, and how they look at it."""

from bgnb.plots.bokeh_figures import same


def shown(dashboard):
    """All that the figures are, by model."""
    return [
        (type(model).__name__, {name: getattr(model, name) for name in properties})
        for model, properties in dashboard._plots.properties(dashboard.view)
    ]


def controls(dashboard):
    return {
        name: {attribute: getattr(control.widget, attribute) for attribute in control.show(dashboard.state)}
        for name, control in dashboard._controls.items()
    }


def assert_controls_show_the_state(dashboard):
    for name, control in dashboard._controls.items():
        assert control.show(dashboard.state) == controls(dashboard)[name], name


def assert_same_as_fresh(dashboard, fresh):
    """A dashboard that came to a state by some way shows what one shows that began there."""
    assert dashboard.state == fresh.state
    for (kind, one), (_, other) in zip(shown(dashboard), shown(fresh), strict=True):
        assert same(one, other), kind
    assert_controls_show_the_state(dashboard)
    assert controls(dashboard) == controls(fresh)
    assert dashboard._summary.value == fresh._summary.value


def tap(dashboard, panel, x, y, add=False):
    dashboard.act({"kind": "tap", "panel": panel, "x": x, "y": y, "add": add, "width": 360.0, "height": 90.0})
