from __future__ import annotations

from ansible_collections.slipway.release.plugins.plugin_utils._report_chart import HEIGHT, WIDTH, charts

DEPLOY = [("/agents", "2026-11-16T20:00:00Z", 0.2), ("/campaigns", "2026-11-16T20:00:00Z", 0.6)]
WATCH = [("/agents", "2026-11-17T08:00:00Z", 0.3), ("/agents", "2026-11-17T20:00:00Z", 0.1)]


def test_each_page_has_a_chart_and_the_slowest_comes_first() -> None:
    found = charts(DEPLOY, WATCH, None)
    assert [(chart.page, chart.looks, chart.worst) for chart in found] == [("/campaigns", 1, 0.6), ("/agents", 3, 0.3)]
    assert found[1].usual == 0.2


def test_points_lie_inside_by_time_and_by_height() -> None:
    chart = charts(DEPLOY, WATCH, None)[1]
    line = [tuple(map(float, pair.split(","))) for pair in chart.line.split()]
    ((left, height),) = chart.dots
    assert left < line[0][0] < line[1][0] <= WIDTH
    assert line[0][0] == WIDTH / 2
    # the slower, the higher
    assert 0 <= line[0][1] < height < line[1][1] <= HEIGHT


def test_a_limit_is_drawn_where_it_is_near_and_told_where_it_is_passed() -> None:
    far, near = charts(DEPLOY, [], 5)[0], charts([("/agents", "2026-11-16T20:00:00Z", 4.0)], [], 5)[0]
    assert (far.limit, far.over) == (None, False)
    assert near.limit is not None
    assert 0 < near.limit < near.dots[0][1]
    assert charts([("/agents", "2026-11-16T20:00:00Z", 8.0)], [], 5)[0].over


def test_a_page_that_answers_at_once_and_a_time_that_is_none_are_no_error() -> None:
    (chart,) = charts([("/agents", "yesterday", 0.0)], [], None)
    assert chart.dots == ((WIDTH / 2, HEIGHT - 6.0),)


def test_there_are_only_so_many() -> None:
    many = [(f"/{number}", "2026-11-16T20:00:00Z", 0.1) for number in range(50)]
    assert len(charts(many, [], None)) == 12
