"""A layered layout: boxes in columns from left to right, few crossings, long rows of columns wrapped into bands."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

COLUMN_GAP, ROW_GAP, BAND_GAP, LANE = 40.0, 16.0, 30.0, 7.0
LANES = 12  # beside each other in a gutter; more share one
SWEEPS = 8  # of ordering and of straightening; more change nothing one would see


@dataclass(eq=False)
class Box:
    """A rectangle to place. A bend is one as wide as its column, where a long edge passes."""

    width: float = 0.0
    height: float = 0.0
    layer: int = 0
    band: int = 0
    x: float = 0.0
    y: float = 0.0  # of the centre
    right: float = 0.0  # where its column ends
    bend: bool = False
    links_in: list[tuple[Box, float]] = field(default_factory=list)  # a neighbour, and where its line meets
    links_out: list[tuple[Box, float]] = field(default_factory=list)  # the box it arrives at, from -½ to ½


@dataclass(eq=False)
class Edge:
    """An arrow from a box to one of the ports on the left side of another, by way of bends."""

    source: Box
    target: Box
    port: int = 0
    ports: int = 1
    twin: int = 0  # how many earlier edges join the same two boxes
    bends: list[Box] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    wraps: dict[int, tuple[int, int]] = field(default_factory=dict)  # after which point it goes on below: band, lane

    @property
    def at(self) -> float:
        """At which part of the target's height the arrow arrives, from -½ to ½."""
        return (self.port + 1) / (self.ports + 1) - 0.5

    @property
    def end(self) -> tuple[float, float]:
        """Where the arrow arrives."""
        return self.target.x, self.target.y + self.at * self.target.height


@dataclass(frozen=True)
class Frame:
    """What the drawing needs beside its boxes: its size, and the gutters in which edges go on to the next band."""

    width: float
    height: float
    gutter: float  # left and right of the bands
    floors: list[float]  # where each band ends


def place(boxes: Sequence[Box], edges: Sequence[Edge], width: float) -> Frame:
    """Give boxes their places and edges their points, in even bands, no wider than asked where there are several.

    Source:
        Sugiyama, Tagawa, Toda, Methods for visual understanding of hierarchical system structures, 1981.
    """
    _layers(boxes, edges)
    starts = _wrap(boxes, edges, width)
    bends = _bends(edges)
    columns: list[list[Box]] = [[] for _ in range(1 + max(box.layer for box in boxes))]
    for box in [*boxes, *bends]:
        columns[box.layer].append(box)
    _order(columns)
    widest = _coordinates(columns, starts)
    lanes = _lanes(edges)
    floors = _stack(columns, lanes)
    for edge in edges:
        _route(edge, lanes)
    gutter = LANE * (1 + max((min(len(lane), LANES) for lane in lanes.values()), default=0))
    return Frame(widest, floors[-1], gutter, floors)


def _layers(boxes: Sequence[Box], edges: Sequence[Edge]) -> None:
    """Each box right of what it was made of (boxes come in such an order); leaves right before their first use."""
    into: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        into[id(edge.target)].append(edge)
    for box in boxes:
        box.layer = max((edge.source.layer + 1 for edge in into[id(box)]), default=0)
    first: dict[int, int] = {}
    for edge in edges:
        if not into[id(edge.source)]:
            first[id(edge.source)] = min(first.get(id(edge.source), edge.target.layer), edge.target.layer)
    for box in boxes:
        box.layer = first.get(id(box), box.layer + 1) - 1


def _wrap(boxes: Sequence[Box], edges: Sequence[Edge], width: float) -> set[int]:
    """The layers that begin a band. Leaves that a band uses first move into it, as a layer of their own."""
    targets = {id(edge.target) for edge in edges}
    results: dict[int, float] = defaultdict(float)  # by layer: the widest box
    leaves: dict[int, float] = defaultdict(float)
    for box in boxes:
        widths = results if id(box) in targets else leaves
        widths[box.layer] = max(widths[box.layer], box.width)
    breaks = _breaks([max(results[k], leaves[k]) for k in range(1 + max(box.layer for box in boxes))], leaves, width)
    moved = [layer for layer in breaks if leaves[layer - 1]]  # breaks ahead of which there are leaves
    for box in boxes:
        follows = id(box) not in targets and box.layer + 1 in moved
        box.layer += sum(layer <= box.layer + follows for layer in moved)
    return {layer + sum(other < layer for other in moved) for layer in breaks}


def _breaks(rooms: Sequence[float], leaves: Mapping[int, float], width: float) -> list[int]:
    """The layers that don't fit into the band before them, given the room that each needs."""
    whole = sum(rooms) + COLUMN_GAP * (len(rooms) - 1)
    if whole <= 1.15 * width:  # nearly one band: a second would hold a last box alone
        return []
    width = min(width, 1.1 * whole / math.ceil(whole / width))  # bands of about one length
    breaks: list[int] = []
    x = 0.0
    for layer, room in enumerate(rooms):
        if x and x + room > width:
            breaks.append(layer)
            x = leaves[layer - 1] + COLUMN_GAP if leaves[layer - 1] else 0.0
        x += room + COLUMN_GAP
    return breaks


def _bends(edges: Sequence[Edge]) -> list[Box]:
    """A bend in every column that an edge passes; edges of one source share theirs, as a bus that branches."""
    shared: dict[tuple[int, int], Box] = {}
    joined: dict[tuple[int, int], int] = defaultdict(int)
    for edge in edges:
        edge.twin = joined[id(edge.source), id(edge.target)]
        joined[id(edge.source), id(edge.target)] += 1
        last = edge.source
        for layer in range(edge.source.layer + 1, edge.target.layer):
            key = id(edge.source), layer
            if key not in shared:
                shared[key] = bend = Box(layer=layer, height=2 * LANE, bend=True)
                last.links_out.append((bend, 0.0))
                bend.links_in.append((last, 0.0))
            last = shared[key]
            edge.bends.append(last)
        last.links_out.append((edge.target, edge.at))
        edge.target.links_in.append((last, edge.at))
    return list(shared.values())


def _order(columns: list[list[Box]]) -> None:
    """The order within each column that leaves few crossings: each box near the mean place of its neighbours."""
    place: dict[int, float] = {}
    share: dict[int, float] = {}  # of its column that a box takes: a port is a part of it
    for column in columns:
        place.update({id(box): k / len(column) for k, box in enumerate(column)})
        share.update({id(box): 1 / len(column) for box in column})
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            key = {id(box): _mean_place(box, forward, place, share) for box in column}
            column.sort(key=lambda box: key[id(box)])
            place.update({id(box): k / len(column) for k, box in enumerate(column)})


def _mean_place(box: Box, forward: bool, place: dict[int, float], share: dict[int, float]) -> float:
    links = box.links_in if forward else box.links_out
    if not links:
        return place[id(box)]
    return sum(place[id(n)] + (0.0 if forward else at * share[id(n)]) for n, at in links) / len(links)


def _coordinates(columns: list[list[Box]], starts: set[int]) -> float:
    """Columns from left to right in their bands; in each column straight lines where there is room. The width."""
    x, band, widest = 0.0, 0, 0.0
    for layer, column in enumerate(columns):
        room = max(box.width for box in column)
        if layer in starts:
            x, band = 0.0, band + 1
        for box in column:
            box.width = room if box.bend else box.width
            box.right = x + room
            box.x, box.band = x + (room - box.width if not box.links_in else 0.0), band
        x += room + COLUMN_GAP
        widest = max(widest, x - COLUMN_GAP)
    for column in columns:
        _spread(column, [0.0] * len(column))
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else columns[::-1]:
            _spread(column, [_straight(box, forward) for box in column])
    return widest


def _straight(box: Box, forward: bool) -> float:
    """Where a box's lines to its neighbours on one side are straightest."""
    links = box.links_in if forward else box.links_out
    if not links:
        return box.y
    return sum(n.y - at * box.height if forward else n.y + at * n.height for n, at in links) / len(links)


def _spread(column: list[Box], wanted: list[float]) -> None:
    """Put boxes as close to where they are wanted as their order and size allow: least squares, by pooling."""
    pools: list[list[float]] = []  # the sum of the wanted tops of some boxes, how many they are
    tops: list[float] = []
    offset = 0.0
    for box, y in zip(column, wanted, strict=True):
        tops.append(offset)
        pools.append([y - box.height / 2 - offset, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
        offset += box.height + ROW_GAP
    shifts = [total / count for total, count in pools for _ in range(int(count))]
    for box, top, shift in zip(column, tops, shifts, strict=True):
        box.y = top + shift + box.height / 2


def _lanes(edges: Sequence[Edge]) -> dict[int, dict[int, int]]:
    """Of each band, the lane of every source whose edges go on in the next one."""
    lanes: dict[int, dict[int, int]] = defaultdict(dict)
    for edge in edges:
        for band in range(edge.source.band, edge.target.band):
            lanes[band].setdefault(id(edge.source), len(lanes[band]) % LANES)
    return lanes


def _stack(columns: list[list[Box]], lanes: dict[int, dict[int, int]]) -> list[float]:
    """Bands one below the other, with room for the lanes between them; where each ends."""
    bands: dict[int, list[Box]] = defaultdict(list)
    for column in columns:
        bands[column[0].band] += column
    top, floors = 0.0, []
    for band in range(len(bands)):
        highest = min(box.y - box.height / 2 for box in bands[band])
        lowest = max(box.y + box.height / 2 for box in bands[band])
        for box in bands[band]:
            box.y += top - highest
        floors.append(top + lowest - highest)
        top = floors[-1] + BAND_GAP + LANE * min(len(lanes[band]), LANES)
    return floors


def _route(edge: Edge, lanes: dict[int, dict[int, int]]) -> None:
    """The points of an edge: out of the source, straight through its bends, into the port."""
    shift = LANE * edge.twin
    last = edge.source
    edge.points = [(last.x + last.width, last.y + shift), (last.right, last.y + shift)]
    for box in [*edge.bends, edge.target]:
        if box.band != last.band:
            edge.wraps[len(edge.points) - 1] = (last.band, lanes[last.band][id(edge.source)])
        if box.bend:
            edge.points += [(box.x, box.y + shift), (box.x + box.width, box.y + shift)]
        last = box
    edge.points.append(edge.end)


def path(edge: Edge, frame: Frame) -> str:
    """An edge as an SVG path; where it wraps, around the right end of its band and back to the left."""
    words = [f"M{edge.points[0][0]:.1f} {edge.points[0][1]:.1f}"]
    for k, ((x0, y0), (x1, y1)) in enumerate(pairwise(edge.points)):
        if k in edge.wraps:
            band, lane = edge.wraps[k]
            out = LANE * (lane + 1)
            floor = frame.floors[band] + BAND_GAP / 2 + LANE * lane
            words += _around(y0, x1, y1, frame.width + out, -out, floor)
        elif y0 == y1:
            words.append(f"H{x1:.1f}")
        else:
            middle = (x0 + x1) / 2
            words.append(f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
    return " ".join(words)


def _around(y0: float, x1: float, y1: float, right: float, left: float, floor: float) -> Iterable[str]:
    r = LANE / 2
    yield f"H{right - r:.1f} Q{right:.1f} {y0:.1f} {right:.1f} {y0 + r:.1f} V{floor - r:.1f}"
    yield f"Q{right:.1f} {floor:.1f} {right - r:.1f} {floor:.1f} H{left + r:.1f}"
    yield f"Q{left:.1f} {floor:.1f} {left:.1f} {floor + r:.1f} V{y1 - r:.1f}"
    yield f"Q{left:.1f} {y1:.1f} {left + r:.1f} {y1:.1f} H{x1:.1f}"
