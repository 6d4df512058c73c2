"""An engine that runs elsewhere: its copies answer over HTTP, and a reply survives the one that gives it."""

from __future__ import annotations

import hashlib
import http.client
import json
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from agvas_core.engines.begun_again import Shown
from agvas_core.engines.dialogue import mode_of
from agvas_core.structures import Conversation, Done, EngineCard, Event, InspectionImage, Request
from agvas_core.wire import FAILED, SIGN_OF_LIFE, FrameReader, WireError, pack_question, parcel, read_card, read_event

SESSION = "x-session-id"  # by which Ray Serve's ConsistentHashRouter tells who belongs to which copy
REPLICA = "x-agvas-replica"
AT_ONCE = 16  # replies that a page lets run at once
PATIENCE_S = 90.0  # for a copy that takes the question: a dead one is replaced in about ten seconds and a model's load
SILENCE_S = 30.0  # copies give a sign of life every SIGN_OF_LIFE_S
CONNECT_S, POLL_S, PAUSES_S = 5.0, 0.02, (0.1, 2.0)
BROKEN_OFF = 4  # replies that break off: then the question itself may be what kills the copies
READ_BYTES = 2**20
_ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:]+\])(:\d+)?(/[^:]*)?")


class _BrokenError(Exception):
    """The reply will not come to its end; has_begun: a copy had taken the question."""

    def __init__(self, why: str, has_begun: bool = False) -> None:
        super().__init__(why)
        self.has_begun = has_begun


def is_address(name: str) -> bool:
    """Whether an engine's name says where it runs ("http://127.0.0.1:8000", several with commas between)."""
    return all(_ADDRESS.fullmatch(part.strip()) for part in name.split(","))


def session_key(image_id: str | None, words: str = "") -> str:
    """Return by what the copy is chosen: the image, whose features and chats it keeps; else the words."""
    return image_id or hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def ranked(key: str, names: Sequence[str]) -> list[str]:
    """Return names in a key's own order: without one of them, the order of the others stays."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{key} {name}".encode(), digest_size=8).digest())


class RemoteEngine:
    """Answers by asking copies of an engine at one address or several.

    The question carries its image and history, so that any copy can answer. A reply that breaks off is begun again.
    """

    def __init__(self, addresses: str, *, patience_s: float = PATIENCE_S) -> None:
        """Ask who answers there.

        addresses: "http://HOST:PORT", several with commas between.

        Raises:
            ValueError: when it is no address.
            ConnectionError: when nobody answers there for patience_s.
        """
        if not is_address(addresses):
            raise ValueError(f"An engine's address looks like http://127.0.0.1:8000; this is {addresses!r}.")
        self.addresses = tuple(address.strip().rstrip("/") for address in addresses.split(","))
        self.patience_s = patience_s
        self._card = read_card(self._get("/card", ""))

    @property
    def card(self) -> EngineCard:
        """Who answers."""
        return self._card

    def replica_of(self, image: InspectionImage) -> dict[str, Any]:
        """Return who would be asked about an image now: "replica" and "pid"."""
        return self._get("/who", session_key(image.image_id))

    def prepare(self, image: InspectionImage) -> None:
        """Have an image encoded where it will be asked about; when that fails, the question itself will tell."""
        request = Request("", image.image_id)
        body = pack_question(Conversation().with_image(image), request)
        key = session_key(image.image_id)
        try:
            _fetch(ranked(key, self.addresses)[0], "POST", "/prepare", key, body, self.patience_s)
        except _BrokenError:
            return

    def respond(
        self, conversation: Conversation, request: Request, *, stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of one reply; see engines.base.

        Raises:
            ConnectionError: when no copy answers for long, or several broke off.
            RuntimeError: what the engine raised, as a sentence.
        """
        stop = stop or threading.Event()
        body = pack_question(parcel(conversation, request), request)
        shown, lost_s = Shown(), 0.0
        for address in self._ways(session_key(request.image_id, request.instruction), stop):
            begun = time.perf_counter()
            shown.begin()
            stream = _Stream(address.where, body, address.key, self.patience_s)
            try:
                for event in stream.events(stop):
                    if isinstance(event, Done) and lost_s:
                        event = Done(**vars(event) | {"seconds": {**event.seconds, "broken off": lost_s}})
                    yield from shown.fresh(event)
                return
            except _BrokenError as why:
                address.failed(why)
                lost_s += time.perf_counter() - begun
            finally:
                stream.close()
        yield Done(mode_of(conversation, request), {"broken off": lost_s}, stopped=True)

    def _ways(self, key: str, stop: threading.Event) -> Iterator[_Way]:
        """Yield where to try next, until stopped; ConnectionError when that has gone on for too long."""
        deadline = time.monotonic() + self.patience_s
        pause, broken_off = PAUSES_S[0], 0
        order = ranked(key, self.addresses)
        for n in range(2**31):
            way = _Way(order[n % len(order)], key)
            yield way
            if way.why is None:
                return
            if way.why.has_begun:
                broken_off += 1
                deadline, pause = time.monotonic() + self.patience_s, PAUSES_S[0]
            if broken_off >= BROKEN_OFF:
                raise ConnectionError(f"The reply broke off {broken_off} times, at last with: {way.why}")
            if time.monotonic() > deadline:
                raise ConnectionError(f"Nobody answers at {', '.join(self.addresses)}: {way.why}")
            if n % len(order) == len(order) - 1:
                if stop.wait(pause):
                    return
                pause = min(2 * pause, PAUSES_S[1])

    def _get(self, path: str, key: str) -> dict[str, Any]:
        for way in self._ways(key, threading.Event()):
            try:
                return json.loads(_fetch(way.where, "GET", path, key, None, self.patience_s))
            except _BrokenError as why:
                way.failed(why)
            except ValueError:
                way.failed(_BrokenError("what is there is not agvas"))
        raise AssertionError("unreachable: ways end with an answer or an error")


class _Way:
    """One try to reach a copy."""

    def __init__(self, where: str, key: str) -> None:
        self.where, self.key = where, key
        self.why: _BrokenError | None = None

    def failed(self, why: _BrokenError) -> None:
        self.why = why


def _connect(address: str) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection that is open, and the path in front of ours."""
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_S)
    connection.connect()
    return connection, parts.path


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, key: str, body: bytes | None, patience_s: float
) -> http.client.HTTPResponse:
    """Send a question, wait for its answer's beginning; _BrokenError when another copy may do better."""
    connection.sock.settimeout(patience_s)
    connection.request(method, path, body, {SESSION: key, "content-type": "application/octet-stream"})
    response = connection.getresponse()
    if response.status == 200:
        return response
    said = response.read(500).decode(errors="replace").strip()
    if response.status == 400:
        raise ValueError(f"The copy of the engine did not take the question: {said}")
    raise _BrokenError(f"{response.status} {said or response.reason}")


def _fetch(address: str, method: str, path: str, key: str, body: bytes | None, patience_s: float) -> bytes:
    try:
        connection, root = _connect(address)
        try:
            return _ask(connection, method, root + path, key, body, patience_s).read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Stream:
    """One reply as it comes, read by a thread of its own, so that stop works while nothing comes."""

    def __init__(self, address: str, body: bytes, key: str, patience_s: float) -> None:
        self._address, self._body, self._key, self._patience_s = address, body, key, patience_s
        self._inbox: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        self._begun = False

    def events(self, stop: threading.Event) -> Iterator[Event]:
        """Yield events up to Done; what was raised there is raised here, _BrokenError when it came to no end."""
        threading.Thread(target=self._read, name="agvas-remote", daemon=True).start()
        while True:
            try:
                event = self._inbox.get(timeout=POLL_S)
            except queue.Empty:
                event = None
            if isinstance(event, Done):
                yield event
                return
            if stop.is_set():
                raise _BrokenError("stopped", self._begun)
            if isinstance(event, Exception):
                raise event
            if event is not None:
                yield event

    def close(self) -> None:
        """Break the connection: the copy stops within a token or two."""
        self._closed.set()
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was closed already

    def _read(self) -> None:
        try:
            self._read_all()
        except _BrokenError as error:
            self._inbox.put(error)
        except (OSError, http.client.HTTPException, WireError) as error:
            self._inbox.put(_BrokenError(_sentence(error), self._begun))
        except Exception as error:
            self._inbox.put(error)

    def _read_all(self) -> None:
        connection, root = _connect(self._address)
        self._socket = connection.sock
        try:
            if self._closed.is_set():
                return
            response = _ask(connection, "POST", root + "/respond", self._key, self._body, self._patience_s)
            self._begun = True
            self._socket.settimeout(SILENCE_S)
            frames = FrameReader()
            while data := response.read1(READ_BYTES):
                for header, arrays in frames.feed(data):
                    if header["kind"] == FAILED:
                        raise RuntimeError(header["sentence"])
                    if header["kind"] != SIGN_OF_LIFE:
                        self._inbox.put(read_event(header, arrays))
            raise _BrokenError("the connection ended before the reply", self._begun)
        finally:
            connection.close()
