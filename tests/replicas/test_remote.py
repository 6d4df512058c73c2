"""An engine elsewhere answers as one here does, also when the copy that answers is killed; no framework is needed."""

import asyncio
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request as HTTPRequest
from typer.testing import CliRunner

import demo
from agvas_core import load_engine
from agvas_core.cli.app import app
from agvas_core.cli.folder import inspect_folder
from agvas_core.engines import remote
from agvas_core.engines.base import Engine
from agvas_core.engines.remote import RemoteEngine, is_address, ranked
from agvas_core.replicas import replica
from agvas_core.replicas.replica import Replica
from agvas_core.structures import Conversation, Done, InspectionImage, MaskReady, Notice, Request, Stage, TextDelta
from agvas_core.wire import pack_question
from tests.fakes import CARD, FakeEngine
from tests.replicas.copies import start_copy


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Copies:
    """Two copies, each behind an address of its own."""

    def __init__(self):
        self.ports = [free_port(), free_port()]
        self.processes = {port: start_copy(port) for port in self.ports}
        self.engine = load_engine(",".join(f"http://127.0.0.1:{port}" for port in self.ports))
        for port in self.ports:
            RemoteEngine(f"http://127.0.0.1:{port}")  # returns when it answers

    def kill(self, port):
        self.processes[port].kill()
        self.processes[port].join()

    def revive(self):
        for port, process in self.processes.items():
            if not process.is_alive():
                self.processes[port] = start_copy(port)
                RemoteEngine(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def both():
    copies = Copies()
    yield copies
    for port in copies.ports:
        copies.kill(port)


@pytest.fixture
def copies(both):
    both.revive()
    return both


def question(image, words="tell me a long story", mode="explain"):
    return Conversation().with_image(image), Request(words, image.image_id, mode=mode)


def seen(events):
    """Return what a user sees of a reply in the end, and the reply's end."""
    events = list(events)
    masks = [e.prediction for e in events if isinstance(e, MaskReady)]
    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    notices = [e.text for e in events if isinstance(e, Notice)]
    dones = [e for e in events if isinstance(e, Done)]
    assert len(dones) == 1 and events[-1] is dones[0]
    return masks, text, notices, dones[0]


def assert_same_reply(one, other):
    assert one[1:3] == other[1:3]
    assert (one[3].mode, one[3].tokens, one[3].stopped) == (other[3].mode, other[3].tokens, other[3].stopped)
    assert len(one[0]) == len(other[0])
    for a, b in zip(one[0], other[0], strict=True):
        assert a.regions == b.regions and a.pred_score == b.pred_score
        np.testing.assert_array_equal(a.anomaly_map, b.anomaly_map)
        np.testing.assert_array_equal(a.pred_mask, b.pred_mask)


@pytest.mark.parametrize("mode", ["direct", "describe", "explain", "chat"])
def test_the_answer_is_the_engines_own(copies, picture, mode):
    asked = question(picture(1), mode=mode)
    assert isinstance(copies.engine, Engine) and copies.engine.card == CARD
    assert_same_reply(seen(copies.engine.respond(*asked)), seen(FakeEngine(pause_s=0.0).respond(*asked)))


def test_an_image_stays_with_its_copy_and_only_the_dead_ones_images_move(copies, picture):
    images = [picture(seed, (16, 16)) for seed in range(24)]
    before = [copies.engine.replica_of(image)["replica"] for image in images]
    assert set(before) == {f"copy {port}" for port in copies.ports}
    assert [copies.engine.replica_of(image)["replica"] for image in images] == before
    copies.kill(copies.ports[0])
    after = [copies.engine.replica_of(image)["replica"] for image in images]
    assert set(after) == {f"copy {copies.ports[1]}"}
    names = ["a", "b", "c", "d"]
    for image in images:
        order = ranked(image.image_id, names)
        assert ranked(image.image_id, [n for n in names if n != order[0]]) == order[1:]


def test_a_copy_killed_under_load_loses_no_conversation(copies, picture):
    homes: dict[str, list[int]] = {}  # which copy a picture belongs to is chance: three of each copy's are asked about
    for seed in range(40):
        homes.setdefault(copies.engine.replica_of(picture(seed))["replica"], []).append(seed)
    assert len(homes) == 2
    asked = [question(picture(seed)) for seeds in homes.values() for seed in seeds[:3]]
    expected = [seen(FakeEngine(pause_s=0.0).respond(*one)) for one in asked]
    victim = next(iter(homes))
    with ThreadPoolExecutor(6) as pool:
        replies = [pool.submit(lambda one: seen(copies.engine.respond(*one)), one) for one in asked]
        time.sleep(0.3)  # words are coming
        copies.kill(int(victim.split()[1]))
        got = [reply.result(timeout=30) for reply in replies]
    for one, other in zip(got, expected, strict=True):
        assert_same_reply(one, other)
    broken = [one[3].seconds["broken off"] for one in got if "broken off" in one[3].seconds]
    assert 1 <= len(broken) < 6 and all(seconds > 0.05 for seconds in broken)


def test_stop_ends_the_reply_here_within_two_words_and_there_soon(copies, picture):
    image, stop, events = picture(3), threading.Event(), []
    for event in copies.engine.respond(*question(image), stop=stop):
        events.append(event)
        if sum(isinstance(e, TextDelta) for e in events) == 3:
            stop.set()
    assert [e.stopped for e in events if isinstance(e, Done)] == [True]
    words = sum(isinstance(e, TextDelta) for e in events)
    assert words <= 3 + 2
    time.sleep(0.3)  # 8 ms a word, 70 words
    far = seen(copies.engine.respond(*question(image, "how far?", "chat")))[1]
    assert int(far) < 30  # a copy knows after half a round trip


def test_stop_works_while_nothing_comes(copies, picture):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    begun = time.perf_counter()
    events = list(copies.engine.respond(*question(picture(4), "wait"), stop=stop))
    assert isinstance(events[0], Stage) and events[-1].stopped
    assert time.perf_counter() - begun < 2.0
    assert seen(copies.engine.respond(*question(picture(4), mode="direct")))[0]  # its turn was given back


def test_who_leaves_in_the_middle_gives_the_turn_back(copies, picture):
    reply = copies.engine.respond(*question(picture(4), "wait"))
    assert isinstance(next(reply), Stage)
    reply.close()
    assert seen(copies.engine.respond(*question(picture(4), mode="direct")))[0]


def test_what_the_engine_raises_is_raised_here_and_not_asked_again(copies, picture):
    with pytest.raises(RuntimeError, match="told to crash"):
        list(copies.engine.respond(*question(picture(1), "crash")))


def test_a_question_that_kills_copies_ends_in_a_sentence(monkeypatch, picture):
    """A server that takes every question and breaks off."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(2**20)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")

        threading.Thread(target=break_off, daemon=True).start()
        monkeypatch.setattr(RemoteEngine, "_get", lambda *_: remote.read_card.__globals__["card_json"](CARD))
        monkeypatch.setattr(remote, "PAUSES_S", (0.01, 0.02))
        engine = RemoteEngine(f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(ConnectionError, match="broke off 4 times"):
            list(engine.respond(*question(picture(1))))


def test_an_address_is_told_from_other_names():
    for name in ("http://a", "http://127.0.0.1:80,https://b.c:1/under", "http://[::1]:8000"):
        assert is_address(name)
    for name in ("http://a:8000:rules", "agvas-nano", "http://", "http://a,b", ""):
        assert not is_address(name)


def test_nobody_there_is_said_in_a_sentence():
    with pytest.raises(ConnectionError, match=r"Nobody answers at http://127\.0\.0\.1"):
        RemoteEngine(f"http://127.0.0.1:{free_port()}", patience_s=0.3)
    with pytest.raises(ValueError, match="looks like http://"):
        RemoteEngine("http://127.0.0.1:1,nonsense")


def test_an_image_under_anothers_name_is_refused(copies, picture):
    """What a copy keeps of an image is found by the name: another visitor would get the wrong answer."""
    image = picture(1)
    forged = InspectionImage(image.image_id, picture(2).rgb)
    with pytest.raises(ValueError, match="is not the one"):
        list(copies.engine.respond(*question(forged)))


@pytest.mark.parametrize(("path", "body", "status"), [("/respond", b"\x80\x04.", 400), ("/else", b"", 404)])
def test_what_is_no_question_gets_an_error_and_no_reply(copies, path, body, status):
    parts = urlsplit(copies.engine.addresses[0])
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    connection.request("POST", path, body)
    assert connection.getresponse().status == status


def test_a_question_too_large_is_refused_before_it_is_read(monkeypatch):
    """All of it was once read into memory before anything was checked."""
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": bytes(60), "more_body": True}

    def ask(*headers):
        scope = {"type": "http", "method": "POST", "path": "/respond", "query_string": b"", "headers": headers}
        return asyncio.run(Replica(FakeEngine()).answer(HTTPRequest(scope, receive)))

    told = ask((b"content-length", str(replica.MAX_QUESTION_BYTES + 1).encode()))
    assert told.status_code == 400 and b"1,073,741,825 bytes or more is too large" in told.body and not read
    monkeypatch.setattr(replica, "MAX_QUESTION_BYTES", 100)
    untold = ask()  # sent in pieces without a length, and without an end
    assert untold.status_code == 400 and b"the limit is 100" in untold.body and len(read) == 2


def test_an_image_is_encoded_where_it_will_be_asked_about(copies, picture):
    image = picture(5)
    copies.engine.prepare(image)
    copies.kill(copies.ports[0])
    copies.kill(copies.ports[1])
    copies.engine.prepare(image)  # fails in silence: the question will tell


def test_questions_of_a_megabyte_arrive(copies, picture):
    large = picture(6, (700, 900))
    assert len(pack_question(*question(large))) > 2**20
    masks, *_ = seen(copies.engine.respond(*question(large, mode="direct")))
    assert masks[0].size_hw == (700, 900)


def test_a_folder_is_inspected_by_the_copies_and_goes_on_where_it_was(copies, picture, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for seed in range(6):
        Image.fromarray(picture(seed).rgb).save(folder / f"{seed}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    command = ["inspect", str(folder), "--out", str(out), "--serve", ",".join(copies.engine.addresses)]
    copies.kill(copies.ports[1])  # it is not there; the other one answers all
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "7 images: 6 with anomalies, 1 not answered" in result.output
    rows = json.loads((out / "results.json").read_text())
    assert [row["image"] for row in rows] == [*(f"{seed}.png" for seed in range(6)), "broken.png"]
    alone = inspect_folder(FakeEngine(pause_s=0.0), folder, tmp_path / "alone", Request("", mode="direct"))
    for row, other in zip(rows, alone, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}
    for seed in range(6):
        masks = [Image.open(place / "masks" / f"{seed}.png.png") for place in (out, tmp_path / "alone")]
        np.testing.assert_array_equal(*(np.array(mask) for mask in masks))
    (folder / "broken.png").unlink()
    before = (out / "journal.jsonl").read_text()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (out / "journal.jsonl").read_text() == before and before.count("\n") == 6


def test_the_page_asks_copies_several_questions_at_once(copies, monkeypatch):
    """An engine of its own takes one; and beside copies elsewhere the page offers no engine that runs here."""
    opened = []
    monkeypatch.setattr(demo, "launch", lambda desk, **_: opened.append(desk))
    demo.serve(copies.engine.addresses[0])
    (desk,) = opened
    assert desk.engine_ids == (copies.engine.addresses[0],) and desk.get().card == CARD
    with desk.turn(), desk.turn():
        assert next(desk.wait(threading.Event())) == 0
