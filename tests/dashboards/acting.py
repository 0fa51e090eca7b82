"""Actions on dashboards, and assertions on their content."""

from bokeh.model import Model

from bgnb.plots.bokeh_figures import equal


def bokeh_properties(dashboard):
    """List type and properties of all Bokeh models of the figures; other models in properties by their type."""
    return [
        (type(model).__name__, {name: by_type(getattr(model, name)) for name in properties})
        for model, properties in dashboard._plots.properties(dashboard.view)
    ]


def by_type(value):
    """Replace a Bokeh model, which differs from dashboard to dashboard, by its type."""
    return type(value).__name__ if isinstance(value, Model) else value


def control_values(dashboard):
    """Read the attributes of the widgets that depend on the state."""
    return {
        name: {attribute: getattr(control.widget, attribute) for attribute in control.show(dashboard.state)}
        for name, control in dashboard._controls.items()
    }


def assert_controls_show_state(dashboard):
    """Assert that all controls agree with the state."""
    for name, control in dashboard._controls.items():
        assert control.show(dashboard.state) == control_values(dashboard)[name], name


def assert_same_as_fresh(dashboard, fresh):
    """Assert that a dashboard shows the same as a new one in the same state."""
    assert dashboard.state == fresh.state
    for (kind, one), (_, other) in zip(bokeh_properties(dashboard), bokeh_properties(fresh), strict=True):
        assert equal(one, other), kind
    assert_controls_show_state(dashboard)
    assert control_values(dashboard) == control_values(fresh)
    assert dashboard._summary.value == fresh._summary.value


def in_state(dashboard, state):
    """Show a state, such as the first one, in a dashboard that tests share, as making one takes long."""
    dashboard.update(**vars(state))
    assert dashboard.state == state
    return dashboard


_SHARED = {}
# Arguments that are no fields of a state, or choose the group of the first one.
_MADE_WITH = ("select", "catalog", "exclusion_radius", "labels", "group_id")


def shared(explore, *where, **options):
    """Show a state in a dashboard that all tests of a process share, as making one takes half a second, and a change nothing.

    Tests that make two of the same directories, or that watch, close or damage one, make their own.
    """
    made_with = {name: options.pop(name) for name in _MADE_WITH if name in options}
    key = (explore, *map(str, where), *((name, id(value) if name == "catalog" else value) for name, value in made_with.items()))
    if key not in _SHARED:
        dashboard = explore(*where, **made_with)
        _SHARED[key] = dashboard, dashboard.state, made_with  # what is kept keeps its id
    dashboard, first, _ = _SHARED[key]
    dashboard.update(**vars(first) | options)
    dashboard._message.value = ""
    return dashboard


def tap(dashboard, panel, x, y, add=False):
    """Tap at a position of a panel."""
    dashboard.act({"kind": "tap", "panel": panel, "x": x, "y": y, "add": add, "width": 360.0, "height": 90.0})


def drag(dashboard, panel, x, y):
    """Drag a rectangle in a panel, given by two values of x and of y."""
    dashboard.act({"kind": "select", "panel": panel, "x": x, "y": y})


def press(dashboard, tooltip):
    """Press the button with a tooltip."""
    widgets = [dashboard]
    for widget in widgets:
        widgets += getattr(widget, "children", ())
    next(widget for widget in widgets if getattr(widget, "tooltip", None) == tooltip).click()


def curve(dashboard, name, panel="sky"):
    """Find a curve of a panel by its name; None if there is none."""
    return next((each for each in dashboard.view.panels[panel].curves if each.name == name), None)


def obs_ids(series):
    """OBS_IDs of the points of a series."""
    return [int(obs_id) for obs_id in series.details["OBS_ID"]]
