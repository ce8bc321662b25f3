"""The core and other native parts, seen from Python. Only ``braid.core``, ``braid.datagrams``, ``braid.tcp.repair``,
``gateway.proxy.relay``, ``gateway.transfer``, ``content.asked`` and ``content.policy`` import it."""

from typing import Literal, Protocol

Role = Literal["edge", "intermediate", "gateway", "dns", "content"]

# Events, oldest first. Numbers are node numbers; ``adjacent`` tells a neighbour session from an end-to-end one.
Initiation = tuple[Literal["initiation"], int, int, bool, bytes, bytes]
"""id, claimed peer, adjacent, its X25519 static key (proved by the handshake), its certificate (not yet verified)."""
Established = tuple[Literal["established"], int, bool, int, bool, int]
"""peer, adjacent, epoch, we were the initiator: keys are confirmed and in use for sending, in all shards."""
Up = tuple[Literal["up"], int, bool]
"""peer, adjacent: valid packets arrive from a peer that was silent or new, in all shards."""
Down = tuple[Literal["down"], int, bool]
"""peer, adjacent: nothing valid for the silence limit, in one shard at least."""
Rekey = tuple[Literal["rekey"], int, bool]
"""peer, adjacent: the packet limit of the current keys is near."""
Control = tuple[Literal["control"], int, bool, bytes]
"""peer, adjacent, one control message, authenticated and never seen before."""
Failed = tuple[Literal["failed"], str]
"""The data thread ended with this panic message; the node must exit."""
Stream = tuple[int | None, int, int, int, int]
"""set (None: probes), paths that its packets went out on as bits, packets, of them repaired, of them wholly lost."""
Losses = tuple[
    Literal["losses"],
    int,
    float,
    list[Stream],
    list[tuple[int, int]],
    list[tuple[int, int, int]],
    list[tuple[int, int, int, int]],
    list[tuple[int, int]],
]
"""peer, seconds that were counted, streams; path and packets lost on it; two paths and packets lost on both; set,
packets, copies sent and bytes of all copies but the first; path and microseconds one way with four times the jitter.
From one shard, soon after a loss, else once a second."""
ServiceRequest = tuple[Literal["service_request"], int, int, int, bytes, bytes | None, int, int, bool]
"""connection, application, node number of the client's edge, record of the client's side, record of the server's side
if the connection was spliced before (``braid.tcp.record``; neither has anything in its queues), bytes of packets that
wait, since when (nanoseconds of CLOCK_BOOTTIME; 0: none do), whether another gateway has had it. Told three times
within 3.5 s until ``take`` or ``reset_connection``."""
Which = Literal["steady", "all", "guests"]
"""Flows that never ask the control side; all; of all, those that were another gateway's."""
Ended = tuple[Literal["ended"], int, Literal["closed", "reset", "idle", "silent", "gone", "moved"], int, int]
"""connection, why, bytes of IP packets from and to the client: it is over without its sockets, if it had some. It was
spliced, or never taken (silent); gone: what was said of it came too late; moved: another gateway has it. Its number
means nothing any more. That of a spliced one is told with the next event, or within 0.1 s."""
Held = tuple[Literal["held"], int, int]
"""connection, since when (nanoseconds of CLOCK_BOOTTIME): as after ``hold``, where ``open_servers`` was told so."""
Event = Initiation | Established | Up | Down | Rekey | Control | Losses | ServiceRequest | Held | Ended | Failed

Offered = tuple[int, bytes, tuple[int, int], tuple[int, int], int, Hold, bool]
"""As ``Core.offer`` returns it."""
Decided = tuple[str, tuple[str, int, bytes, bytes, bytes] | None, tuple[bytes, bool, float, Offered] | None]
"""Of a request, by a plan: why it is not offered, in a word, empty where it is for nobody; the proxy that it is for,
its number, the key of what is asked for, ``fields_of`` the request, its head; if it is offered the transfer's id,
whether the proxy most likely accepts, when (Unix seconds), and the connection."""
RelayEvent = (
    tuple[Literal["request"], int, str, str, str, str, dict[str, str], Decided | None]
    | tuple[Literal["first_bytes"], int, bytes]
    | tuple[Literal["changed"], int, list[bytes]]
    | tuple[Literal["answered"], int, float]
    | tuple[Literal["failed"], int, str, bool]
    | tuple[Literal["served"], int, int, int, float]
    | tuple[Literal["connected"], int, float]
    | tuple[Literal["again"], int]
    | tuple[Literal["opaque"], int]
    | tuple[Literal["refused"], int, str, tuple[int, int] | None]
    | tuple[Literal["ended"], int, bool]
    | tuple[Literal["turned_down"], bytes, int, bool]
)
"""Each with its client, but the last. request: method, target, authority, path with query, headers with lower-case
names, and what was decided by a plan; to be served or refused unless it is offered. first_bytes: all that a client of
``tls-sni`` has sent; to be served or refused, or it comes again with more. changed: its unsafe request succeeded, as
the client is about to hear; values of Location and Content-Location. answered: seconds from the last bytes for the
server to its first. failed: reason, whether to serve or refuse it again. served: status, bytes of the body, seconds to
the first byte. connected: seconds it took. again: a kept connection of its own to the server was found closed, or
there is another one still from the given source, ``reconnect``. opaque: what is left may go on elsewhere, ``depart``
or ``go_on``. refused: reason, and of a request the status that its client has, or 0, and bytes of the body. ended:
whether in order, not cut off. turned_down: which transfer, the reason, and whether its request is served now, as
``expect`` has it: that is told 5 ms later, or with the next event but connected and answered."""

class Core:
    """One node's data plane: its sockets, its data threads, one for each shard, its Noise state.

    Methods may be called from the thread that made it only; none blocks longer than a Diffie-Hellman, or a turn of the
    data threads.
    A process that forked must not use the child's copy.
    """

    def __init__(
        self,
        *,
        role: Role,
        number: int,
        private_key: bytes,
        listen: list[tuple[str, int]],
        tun_fds: list[int],
        mtu: int,
        udp_gso: bool = True,
        udp_gro: bool = True,
        tun_offload: bool = True,
        rate_mbit: int = 10_000,
        receive_us: int = 5_000,
        send_us: int = 1_000,
        shards: int = 1,
    ) -> None:
        """Binds one UDP socket per ``listen`` address and shard, at one port after the other, and adopts (dups) the TUN
        queues, none or one for each shard. OSError says which failed.

        ``mtu`` is the inner one, that of the TUN. Receive and send buffers hold what comes and goes at ``rate_mbit``
        within ``receive_us`` and ``send_us`` microseconds. The node answers to nobody until ``configure``.
        """
    def start(self) -> None: ...
    def stop(self) -> None:
        """Ends and joins the data threads, closes the sockets. Idempotent."""
    def event_fd(self) -> int:
        """Readable while there are events, other than those of ``let_wait``."""
    def events(self, limit: int = 256) -> list[Event]: ...
    def let_wait(self, kinds: bytes) -> None:
        """Neighbours' control messages of these kinds (the second byte) do not make the descriptor readable from now on
        while there are fewer than 64 events; so events are to be taken now and then anyway."""
    def last_turn(self) -> int:
        """Nanoseconds since the data thread that is furthest behind finished a turn (each turns at least every 250 ms).
        For the watchdog."""
    def configure(self, desired: str) -> None:
        """The whole desired state as JSON (shape: ``braid.desired.Desired``), applied in one piece.

        ValueError names what is wrong; the state before stays.
        """
    def set_syn_keys(self, current: int, keys: list[tuple[int, bytes]], gateways: list[int]) -> None:
        """SYN cookies are made with the key of period ``current``, and believed with those of it, the one before and
        the one after. Keys have 16 bytes. Without keys a gateway answers no SYN to a fast-path application, and an edge
        leaves SYNs to the gateway. At an edge they are the keys of these gateways; a gateway names none.
        """
    def initiate(self, peer: int, adjacent: bool, peer_static: bytes, certificate: bytes) -> None:
        """Sends one handshake initiation, to the neighbour or along all paths to the peer. To retry, call again."""
    def accept(self, initiation: int) -> None:
        """Answers a verified initiation and installs the session's keys, in all shards before the answer leaves.

        KeyError when it is no longer pending.
        """
    def refuse(self, initiation: int, reason: str) -> None:
        """Forgets an initiation and counts it under ``reason``."""
    def close_session(self, peer: int, adjacent: bool) -> None:
        """Destroys all keys shared with a peer (revoked, removed)."""
    def send_control(self, peer: int, adjacent: bool, message: bytes, wait: bool = True) -> bool:
        """Along all paths, at most 1100 bytes; False without a session. Without ``wait`` it is True at once."""
    def tell(self, messages: list[tuple[int, bytes]]) -> None:
        """The same to neighbours, all together; does not wait for word whether they could be sent."""
    def take(self, connection: int) -> None:
        """The stack has a connection that a service request told of, or that was held: its sockets are built and
        started. What was held goes to them through the TUN, and all packets of both sides pass as they are."""
    def reset_connection(self, connection: int) -> None:
        """Refuses a connection: its client gets a reset, and its server if it was spliced."""
    def adopt(self, record: bytes, guest: bool = False) -> int | None:
        """The stack has built a socket by a record, of a connection of a proxied application that another node had, and
        whose client's packets are held. The connection that it is from now on, as if it had been taken; None: its VIP
        is none of those that the fast path accepts connections of, there is no room, or another connection of the same
        ends. ``guest``: another gateway has had it before. ValueError where it is no record."""
    def open_servers(self, taken: list[int], wanted: list[tuple[int, str, int, bool]]) -> list[tuple[str, int] | None]:
        """``take`` for several connections, and then servers for some: host and port of each server, and whether the
        connection is to be held (``held``) at the server's first bytes. Returns addresses and ports of the SNAT pool
        that they are to be talked to from, other ones at each call; packets of a server before are not its any more.
        None: the connection is gone, there is no port left, its client's IP version is another one, or the server is
        on this host."""
    def hold(self, connection: int) -> bool:
        """True: no packet of either side reaches the stack until ``splice`` or ``take``, or for 3.5 s. False: it has to
        stay there, having no server or a side that has ended."""
    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None:
        """For a connection that is held and whose sockets are frozen: the data plane carries it on from their records.
        ``to_client`` and ``to_server`` are bytes that had been read from the one and not yet written to the other.
        ``until``: bytes that the server has still to send behind those of its record until all is answered; what the
        client sends waits until then, and is a service request. None: never again.

        ValueError says what cannot be carried on, in a word, before anything happens.
        """
    def set_owner(self, client: tuple[str, int], vip: tuple[str, int], owner: str, wait: bool = True) -> bool:
        """Who has a client's connection from now on: ``held`` (its client's packets wait), ``here`` (this node's
        stack), ``away`` (another node; what comes is late), or nobody in particular (empty). When it returns, no packet
        will meet the owner before. False: there is no room. Without ``wait`` it returns True at once, and the data
        threads follow in the order of commands."""
    def offer(
        self,
        fd: int,
        head: bytes | None,
        offer: tuple[bytes, int, bytes],
        proxy: int,
    ) -> tuple[int, bytes, tuple[int, int], tuple[int, int], int, Hold, bool]:
        """Offer a client's connection, of which nothing is under way, to a content proxy; the descriptor stays the
        caller's. ``head``: what was read of it already. ``offer``: the transfer's id, milliseconds in which an answer
        is of use, the key of what is asked for. Its socket is frozen, then its client's packets are held and the
        proxy is asked, in one turn of the data thread.

        The frozen socket and its record; what it sends and receives next; the initial numbers of the client and of
        our side; what had come of the client; its hold; whether the proxy is asked (else the request is too long for
        one message). A word (ValueError) or OSError: the socket goes on as it was, and nobody was asked."""
    def offers_of(self, relay: Relay, stored: Stored, deadline: int) -> None:
        """That relay offers requests of clients with a plan to content proxies from now on, before it tells of them, by
        what is stored; ``deadline``: milliseconds in which an answer is of use. Refusals, also of what ``offer`` has
        offered, are heard by it, as ``turned_down``, and are no events."""
    def open_line(self, hears: int, says: int, kinds: bytes) -> None:
        """Another process decides about connections from now on, in place of the one before. It gets on ``hears``, a
        socket that keeps messages apart, what neighbours say of these kinds (the second byte), which is no event then,
        and what it says on ``says`` is done in its order; ``dataplane/py/src/line.rs`` has the picture of both. OSError
        for what is no descriptor."""
    def close_line(self) -> None:
        """Ends it, if there is one: all that it said before is done when this returns, and packets wait no longer for
        what it was about to do."""
    def line_is_bad(self) -> bool:
        """Whether it has said what nobody says, and is not heard any more."""
    def copy_flows(
        self, shard: int, pools: list[str], which: Which, start: int, since: int
    ) -> tuple[list[bytes], int, int, int, int | None, int]:
        """Flows of a shard whose servers see addresses of these pools, from place ``start`` on, that were used since
        then (0: all) or could not be told before: pieces for ``take_flows`` of the same shard of another gateway, flows
        in them, flows that are being opened and flows that a stack has (neither can move now), the place to go on at
        (None: that was all), and the data thread's time of it, for another ``since``."""
    def tell_flow(self, connection: int, pools: list[str], which: Which) -> tuple[int, bytes] | None:
        """Shard and piece of a connection that a service request told of: it can go to another gateway instead of a
        stack, and its packets wait as they did. None if it is not one of these flows, or nobody waits any more."""
    def leave_flow(self, connection: int) -> None:
        """That gateway has it: it is gone here, and the packets that waited go there."""
    def forget_given(self, shard: int, start: int, everything: bool) -> int | None:
        """End, from place ``start`` on, what another gateway may have gone on with so that no record here fits any
        more: of connections that ask the control side one day those that have not come back from it, or ``everything``
        that it ever had. The place to go on at (None: that was all)."""
    def take_flows(self, shard: int, piece: bytes) -> tuple[int, int, int, str]:
        """Take over a piece: flows that are new, that were here, that are refused, and why the last one was."""
    def snapshot(self, whole: bool = True) -> str:
        """Counters and states as JSON, a list with one entry per shard (shape: ``braid.status.merge``). Without
        ``whole`` the sessions with neighbours are left out."""
    def arrivals(self) -> str:
        """Of each path in use, and each that stands by, whether the peer hears it and its round trip; what the sockets
        and the TUN counted. In the same shape."""
    def flows(self, limit: int = 1000) -> str:
        """The gateway's NAT flows, most recently used first, as JSON."""

class Datagrams:
    """A UDP socket of Python's, read and answered in batches: two system calls for many datagrams. No method waits.

    Methods may be called from the thread that made it only.
    """

    def __init__(self, fd: int, count: int, size: int) -> None:
        """Dups ``fd``. A batch has at most ``count`` datagrams; of longer ones only ``size`` bytes are seen. OSError if
        it is no IP socket."""
    def receive(self) -> list[tuple[bytes, bytes, int]]:
        """What has come: data, packed address and port of the sender; empty if nothing has. OSError as of recvmmsg."""
    def send(self, answers: list[bytes | None]) -> int:
        """The first answer goes to where the first datagram of the last ``receive`` came from, and so on; None is no
        answer. Returns how many the kernel has refused to send."""
    def close(self) -> None:
        """Idempotent; ValueError from the other methods after it."""

def public_key(private_key: bytes) -> bytes:
    """X25519 public key of a 32-byte private key."""

def repair_bound(host: str, port: int, device: str, mss: int) -> int:
    """The descriptor of a non-blocking socket: ``braid.tcp.repair.bound``."""

def repair_build(record: bytes, device: str, later: int = 0) -> int:
    """The descriptor of a frozen socket: ``braid.tcp.repair.build``. ValueError if the record is none."""

def repair_start(fd: int, unsent: bytes) -> None: ...
def repair_dissolve(fd: int) -> None: ...
def repair_freeze(fd: int) -> bytes:
    """The record of a socket. ValueError says in a word why it is not frozen."""

def read_request(data: bytes) -> tuple[bytes, bytes, bytes, tuple[tuple[bytes, bytes], ...], bool] | None:
    """Method, target (path and query, or ``*``), authority, fields by lower-case names, and whether the connection is
    to end behind the answer, of a request of HTTP/1.1 that is all of these bytes and has no body; None for anything
    else, and for what may be read in two ways."""

def selecting(fields: tuple[tuple[bytes, bytes], ...], name: bytes) -> bytes:
    """A request's value of a field that ``Vary`` names, so written that equal meanings compare equal."""

def judge_answer(fields: tuple[tuple[bytes, bytes], ...], answer: bytes, now: float) -> int:
    """What a stored answer (``content.policy.as_answer``) is good for, for a request with these fields: it is fresh,
    0; stale and used all the same, 1; or the origin is to be asked, 2. ValueError for what is no answer."""

class DataPlane(Protocol):
    """What ``give_back`` uses of ``Core``."""

    def hold(self, connection: int) -> bool: ...
    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None: ...
    def take(self, connection: int) -> None: ...

def give_back(
    core: DataPlane,
    connection: int,
    client: int,
    server: int,
    to_client: bytes,
    to_server: bytes,
    until: int | None = None,
) -> str | None:
    """``braid.tcp.repair.give_back``."""

def is_own(host: str) -> bool:
    """Whether packets to an address stay on this host."""

Newcomer = tuple[int, Literal["http", "tcp", "tls-sni"], bytes, tuple[str, bool] | None]
"""The application that it came to, and what it speaks: what is not ``http`` passes as it is, and ``tcp`` wants to be
served or refused at once. What begins each server connection, which then no other client shares, or nothing. Where
servers are told in each request: the client's address, and whether it spoke TLS."""
Source = tuple[str, int, int]
"""Host, port, and bytes of the largest segments."""
Departure = tuple[Literal["went"], int, int, float] | tuple[Literal["stays"], str, bool]
"""went: of an answer under way its status, bytes of the body, seconds to the first one, or zero. stays: the reason, a
word; whether what is too much becomes less by being read."""

class Hold:
    def wait(self) -> bool:
        """Whether the data threads hold the client's packets, once; RuntimeError when one does not answer."""

PlanRow = tuple[
    str,
    list[str],
    list[str],
    float | None,
    bool,
    bool,
    Literal["first", "by_path", ""],
    list[tuple[str, int, list[str]]],
]
"""Path, methods, hosts, until when it holds, whether it has conditions of the connection, whether its proxies serve
everything, how one is chosen, and proxies: name, number, hosts that it may have."""

class Plan:
    """Which requests of a connection are offered to whom; port: of the VIP; fetchers: all content proxies."""

    def __init__(self, port: int, fetchers: list[str], rows: list[PlanRow]) -> None: ...
    def choose(self, head: bytes, wall: float) -> tuple[str, bytes, bool] | None:
        """By the head of a request, at that time (Unix seconds): the proxy, or an empty name; the key of what is asked
        for; whether only the origin can answer it. None: that is not decided. ValueError for what is no head."""

class Stored:
    """What content proxies store, as a gateway knows it (``gateway.transfer.stored``)."""

    def __init__(self, *, good_for: float, cold: float, most_cold: int) -> None: ...
    def receive(self, proxy: int, order: int, pages: list[tuple[int, bytes]], now: float) -> None: ...
    def forget(self, proxy: int) -> None: ...
    def remember_cold(self, proxy: int, key: bytes, now: float, fields: bytes) -> None: ...
    def is_cold(self, proxy: int, key: bytes, now: float) -> bool: ...
    def look_up(self, proxy: int, key: bytes, now: float, fields: bytes) -> str: ...
    def mark_outdated(self, proxy: int, key: bytes, outdated: bool) -> None: ...

class Relay:
    """Connections between clients and servers, carried without waiting: whoever has it calls ``turn`` when
    ``fd`` is readable or ``next_timeout`` has come. ``now`` is seconds on one clock, the same in all calls. A client's
    number is given by ``adopt``; calls about one that has ended do nothing.
    """

    def __init__(self, device: str) -> None:
        """``device``: through which sockets of ``promote`` and ``source`` are connected; empty: any."""
    def fd(self) -> int: ...
    def next_timeout(self) -> float: ...
    def configure(
        self,
        application: int,
        *,
        select_timeout: float,
        connect_timeout: float,
        answer_timeout: float,
        idle_timeout: float,
        buffer: int,
        pool: int,
        pool_timeout: float,
        splice_above: int | None = None,
    ) -> None:
        """For connections to come."""
    def server(self, host: str, port: int) -> int:
        """The number of a server's address."""
    def adopt(self, fd: int, now: float, newcomer: Newcomer, promoted: bool) -> int:
        """Dups the descriptor of a client's connection and serves it. ``promoted``: it may go on in the data plane."""
    def promote(self, client: bytes, now: float, newcomer: Newcomer, server: tuple[bytes, int] | None = None) -> int:
        """Build a client's connection from its record, and that to its server, with the number of that, and serve it.
        OSError if the kernel does not take them, ValueError for what is no record."""
    def serve(self, client: int, server: int, cookie: str, now: float, source: Source | None = None) -> None:
        """The verdict on a request; ``cookie`` is a ``Set-Cookie`` value, or empty; ``source``: a connection of this
        client alone starts from there. OSError if that cannot be had: nothing has happened."""
    def reconnect(self, client: int, now: float, source: Source | None = None) -> None:
        """Another connection to the server that was chosen, after ``again``."""
    def own_server(self, client: int) -> tuple[int, int] | None:
        """The server that the client has a connection of its own to, and its descriptor."""
    def drop_server(self, client: int) -> None:
        """Reset the client's connection to a server."""
    def adopt_server(self, client: int, fd: int, server: int, now: float) -> None:
        """Give a client that was just adopted the connection that it had to a server; the descriptor is dupped."""
    def departing(self, client: int, held: bool = False) -> tuple[int, int] | None:
        """Descriptors of a client and its server that were offered. None: it is not as it was."""
    def depart(self, core: DataPlane, client: int, connection: int, held: float | None = None) -> Departure | None:
        """Give what was offered to ``core``, as ``give_back`` does; ``connection`` is the core's number. When it went
        no event follows. None: it is not as it was. ``held``: the core holds it as its server has begun to send, since
        this moment."""
    def park(self, core: DataPlane, client: int, connection: int) -> Departure | None:
        """Give a client of ``http`` to ``core`` that is between two requests, without a server: the core asks for it
        when it says more. As ``depart``; None also where it had a connection of its own to a server, which ends now."""
    def go_on(self, client: int) -> None:
        """What was offered stays for now: carry it on. Until then nothing more is read from the server."""
    def stay(self, client: int) -> None:
        """Offer the client's connection no more."""
    def rest(self, client: int, resting: bool) -> None:
        """Read nothing more from the client and its server, or go on."""
    def refuse(self, client: int, reason: str, status: int, now: float) -> None: ...
    def refuse_with(self, client: int, reason: str, answer: bytes, now: float) -> None:
        """Where bytes pass as they are: end with this answer, or with a reset if it is empty."""
    def movable(self, client: int) -> tuple[int, bytes] | None:
        """The descriptor of a client's socket, which stays the relay's, and the head of the request that waits for its
        server, where nothing else is under way on the connection. None where something is."""
    def give_up(self, client: int, now: float) -> None:
        """Close a client's socket as it is: silently if it is in repair mode. It has ended in order then."""
    def finish(self, client: int, now: float) -> None:
        """End between two requests: now, or after the one that is under way."""
    def reset(self, client: int) -> None: ...
    def expect(self, client: int, transfer: bytes, server: int, cookie: str, now: float) -> None:
        """The client is offered by that transfer: if it is refused, its socket goes on, its request is served, as by
        ``serve``, and what the core holds of the client is let go, before anybody is told. That may be now."""
    def unexpect(self, transfer: bytes) -> None:
        """Not any more; what is refused later is an event of the core."""
    def is_turned_down(self, transfer: bytes) -> bool:
        """Whether it was refused, which has yet to be told."""
    def all_turned_down(self) -> list[tuple[bytes, int, bool]]:
        """What has yet to be told, as ``turned_down``, in this way."""
    def plan(self, client: int, plan: Plan) -> None:
        """For requests to come, until it has ended."""
    def forget_plans(self) -> None: ...
    def asked(self, proxy: int) -> bool:
        """One request more waits for a proxy's word. False if there is no room for it."""
    def answered(self, proxy: int) -> None:
        """For each that there was room for: it waits no more."""
    def turn(self, now: float) -> tuple[list[RelayEvent], bool]:
        """What happened, oldest first; true if there is more to do at once."""
    def said(self, now: float) -> list[RelayEvent]:
        """What happened since, by calls of other methods, and what was refused."""
    def flow(self, client: int, now: float) -> tuple[str, float, int, int, tuple[str, int] | None] | None:
        """State, seconds idle, bytes from and to the client, our address towards the server."""
