"""A layered layout: boxes in columns from left to right, few crossings, short edges, long rows wrapped into bands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

COLUMN_GAP, ROW_GAP, BAND_GAP, LANE = 40.0, 16.0, 36.0, 7.0
SWEEPS = 8  # of ordering and of straightening; more change nothing one would see
CHANGE = 10.0  # in the width of bands that counts
TURN = 2.5  # how much wider a band may get that was asked for, before it is broken
REACH = 3  # columns that an edge may go; further away another box stands for its source


@dataclass(eq=False)
class Box:
    """A rectangle to place. A bend is one as wide as its column, where a long edge passes."""

    width: float = 0.0
    height: float = 0.0
    short: float = 0.0  # how wide the box is that stands for this one elsewhere
    band: int = 0  # boxes with a higher one go below; of a box that is made of none, its users say it
    layer: int = 0
    x: float = 0.0
    y: float = 0.0  # of the centre
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
    """What the drawing needs beside its boxes: its size."""

    width: float
    floors: list[float]  # where each band ends

    @property
    def height(self) -> float:
        """Where the last band ends."""
        return self.floors[-1]


def place(boxes: Sequence[Box], edges: Sequence[Edge], width: float, stand_in: Callable[[Box], Box]) -> Frame:
    """Give boxes their places and edges their points, in even bands, no wider than asked where there are several.

    No edge leaves its band or goes far: near its target a box that ``stand_in`` makes takes the place of its source.

    Args:
        boxes: each after those that it is made of.
        edges: what is made of what.
        width: how wide a band may get.
        stand_in: makes a box that stands for another.

    Source:
        Sugiyama, Tagawa, Toda, Methods for visual understanding of hierarchical system structures, 1981.
    """
    into = _into(edges)
    _gather(boxes, edges, into)
    _layers(boxes, edges, into)
    _wrap(boxes, edges, into, width)
    _gather(boxes, edges, into)
    others = _cut(edges, stand_in, lambda edge: edge.source.band != edge.target.band)
    into = _into(edges)
    _layers([*others, *boxes], edges, into)
    others += _cut(edges, stand_in, lambda edge: edge.target.layer - edge.source.layer > REACH)
    columns, starts = _columns([*boxes, *others], edges)
    _order(columns)
    widest = _coordinates(columns, starts)
    floors = _stack(columns)
    for edge in edges:
        _route(edge)
    return Frame(widest, floors)


Into = Mapping[int, Sequence[Edge]]


def _into(edges: Sequence[Edge]) -> Into:
    """The edges into each box, by its id."""
    into: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        into[id(edge.target)].append(edge)
    return into


def _gather(boxes: Sequence[Box], edges: Sequence[Edge], into: Into) -> None:
    """Leaves, and what is made of one leaf alone, such as a transpose, go into the band of their first use."""
    leaves = {id(box) for box in boxes if not into.get(id(box))}
    first: dict[int, Edge] = {}
    for edge in edges:
        if id(edge.source) not in first or edge.target.band < first[id(edge.source)].target.band:
            first[id(edge.source)] = edge
    for box in reversed(boxes):
        made_of = into.get(id(box), ())
        if id(box) in first and (not made_of or (len(made_of) == 1 and id(made_of[0].source) in leaves)):
            box.band = first[id(box)].target.band


def _layers(boxes: Sequence[Box], edges: Sequence[Edge], into: Into) -> None:
    """Within its band, each box right of what it was made of, and as far right as makes its edges short."""
    users: dict[int, set[Box]] = defaultdict(set)
    for edge in edges:
        if edge.source.band == edge.target.band:
            users[id(edge.source)].add(edge.target)
    made_of = {id(b): {e.source for e in into.get(id(b), ()) if e.source.band == b.band} for b in boxes}
    holds: dict[int, set[Box]] = {}
    for box in boxes:
        sources = made_of[id(box)]
        box.layer = max((source.layer + 1 for source in sources), default=0)
        holds[id(box)] = {s for s in sources if made_of[id(s)] and (holds[id(s)] or len(users[id(s)]) > 1)}
    _pull(boxes, users, holds)


def _pull(boxes: Sequence[Box], users: Mapping[int, set[Box]], holds: Mapping[int, set[Box]]) -> None:
    """Move boxes right to their users, unless results hold them that others use as well; all else comes along."""
    for box in reversed(boxes):
        used = users.get(id(box), ())
        if used and (not holds[id(box)] or len(holds[id(box)]) < len(used)):
            box.layer = min(user.layer for user in used) - 1


def _wrap(boxes: Sequence[Box], edges: Sequence[Edge], into: Into, width: float) -> None:
    """Break bands that are too wide, and count them anew."""
    ahead: dict[tuple[int, int], float] = defaultdict(float)  # room for what stands before a layer that begins a band
    for edge in edges:
        source, key = edge.source, (edge.target.band, edge.target.layer)
        leaves = [e.source.width + COLUMN_GAP for e in into.get(id(source), ()) if not into.get(id(e.source))]
        light = len(leaves) == len(into.get(id(source), ())) <= 1
        ahead[key] = max(ahead[key], source.width + sum(leaves) if light else source.short)
    bands: dict[int, list[Box]] = defaultdict(list)
    for box in boxes:
        bands[box.band].append(box)
    begun, width = 0, width * (TURN if len(bands) > 1 else 1)
    for band in sorted(bands):
        rooms = [0.0] * (1 + max(box.layer for box in bands[band]))
        for box in bands[band]:
            rooms[box.layer] = max(rooms[box.layer], box.width)
        starts = _breaks(rooms, [ahead[band, layer] for layer in range(len(rooms))], width)
        number = [0] * len(rooms)
        for layer in range(1, len(rooms)):
            number[layer] = number[layer - 1] + (layer in starts)
        for box in bands[band]:
            box.band = begun + number[box.layer]
        begun += number[-1] + 1


def _breaks(rooms: Sequence[float], ahead: Sequence[float], width: float) -> list[int]:
    """The layers that don't fit into the band before them, given the room that each needs, and that before it."""

    def fitted(width: float) -> list[int]:
        breaks, x = [], 0.0
        for layer, room in enumerate(rooms):
            if x and x + room > width:
                breaks.append(layer)
                x = ahead[layer] + COLUMN_GAP
            x += room + COLUMN_GAP
        return breaks

    if sum(rooms) + COLUMN_GAP * (len(rooms) - 1) <= 1.15 * width:  # nearly one band: a second would hold a last box
        return []
    low, count = 0.0, len(fitted(width))
    while width - low > CHANGE:  # as many bands, but none longer than it must be
        middle = (low + width) / 2
        low, width = (middle, width) if len(fitted(middle)) > count else (low, middle)
    return fitted(width)


def _cut(edges: Sequence[Edge], stand_in: Callable[[Box], Box], is_long: Callable[[Edge], bool]) -> list[Box]:
    """Let boxes that stand for others be the sources of long edges: one for a source, a band and where it is used."""
    made: dict[tuple[int, int, int], Box] = {}
    for edge in edges:
        if is_long(edge):
            crosses = edge.source.band != edge.target.band
            key = id(edge.source), edge.target.band, -1 if crosses else edge.target.layer
            if key not in made:
                made[key] = stand_in(edge.source)
                made[key].band, made[key].layer = edge.target.band, edge.target.layer - 1
            edge.source = made[key]
    return list(made.values())


def _columns(boxes: Sequence[Box], edges: Sequence[Edge]) -> tuple[list[list[Box]], set[int]]:
    """The columns of all bands one after the other, with bends where edges pass, and those that begin a band."""
    least: dict[int, int] = {}
    most: dict[int, int] = {}
    for box in boxes:
        least[box.band] = min(least.get(box.band, box.layer), box.layer)
        most[box.band] = max(most.get(box.band, box.layer), box.layer)
    offset, count = {}, 0
    for band in sorted(least):
        offset[band] = count - least[band]
        count += 1 + most[band] - least[band]
    for box in boxes:
        box.layer += offset[box.band]
    columns: list[list[Box]] = [[] for _ in range(count)]
    for box in [*boxes, *_bends(edges)]:
        columns[box.layer].append(box)
    return columns, {offset[band] + least[band] for band in least}


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
                shared[key] = bend = Box(layer=layer, band=last.band, height=2 * LANE, bend=True)
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
    x, widest = 0.0, 0.0
    for layer, column in enumerate(columns):
        room = max(box.width for box in column)
        x = 0.0 if layer in starts else x
        for box in column:
            box.width = room if box.bend else box.width
            box.x = x + (room - box.width if not box.links_in else 0.0)
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


def _stack(columns: list[list[Box]]) -> list[float]:
    """Bands one below the other; where each ends."""
    bands: dict[int, list[Box]] = defaultdict(list)
    for column in columns:
        bands[column[0].band] += column
    top, floors = 0.0, []
    for _, band in sorted(bands.items()):
        highest = min(box.y - box.height / 2 for box in band)
        for box in band:
            box.y += top - highest
        floors.append(max(box.y + box.height / 2 for box in band))
        top = floors[-1] + BAND_GAP
    return floors


def _route(edge: Edge) -> None:
    """The points of an edge: out of the source, straight through its bends, into the port."""
    shift = LANE * edge.twin
    edge.points = [(edge.source.x + edge.source.width, edge.source.y + shift)]
    for bend in edge.bends:
        edge.points += [(bend.x, bend.y + shift), (bend.x + bend.width, bend.y + shift)]
    edge.points.append(edge.end)


def path(edge: Edge) -> str:
    """An edge as an SVG path."""
    words = [f"M{edge.points[0][0]:.1f} {edge.points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(edge.points):
        if y0 == y1:
            words.append(f"H{x1:.1f}")
        else:
            middle = (x0 + x1) / 2
            words.append(f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
    return " ".join(words)
