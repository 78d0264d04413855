"""An agent answers only who may ask it, the same request always the same, and never says what must not leave."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from agents.errors import Poison, StepFailed
from agents.guard.evidence import collect_evidence
from agents.guard.rules import find_violations
from agents.recommender import service
from agents.swarm import registry
from agents.swarm.agent import ConversableAgent, Occasion, Ports, Task, to_json
from agents.swarm.creative_content import CreativeContentAgent
from agents.swarm.email_template import write_template
from agents.swarm.outputs import ChosenProduct, Email
from agents.swarm.recommendation import RecommendationAgent
from agents.swarm.security_guardian import SecurityGuardianAgent
from agents.tools.blackboard import FakeBlackboard
from agents.tools.bus import FakeBus
from agents.tools.graph import FakeGraph
from agents.tools.models import FakeGateway, ModelRefused, ModelUnavailable
from agents.tools.seals import FakeSeals
from agents.tools.serving import FakeServing
from agents.tools.warehouse import FakeWarehouse
from schemas import topology
from schemas.messages import AgentMessage, Json, Kind, ProfileUpdate, Status
from schemas.rows import Recommendation
from tests.unit.swarm import OUTPUTS, START, Clock, Crash, ScriptedAgent, ShakyBus, World, make_request

LAMP = ChosenProduct(product_id="p1", name="T-LIGHT HOLDER", reason="It goes with your lamp.")
HOSTS = frozenset({"shop.example"})
CLEAN = write_template("en", "lapsed_buyer", LAMP)


def _ports() -> Ports:
    return Ports(blackboard=FakeBlackboard(), bus=FakeBus(), seals=FakeSeals("agent-user-context"), now=Clock())


def _task(**inputs: Any) -> Task:
    return Task(user_id="u1", moment=Occasion(moment_id="m1", kind="lapsed_buyer", data={"orders": 5}), inputs=inputs)


def _scripted(outputs: Mapping[str, Any] = OUTPUTS, bus: FakeBus | None = None) -> ScriptedAgent:
    ports = Ports(blackboard=FakeBlackboard(), bus=bus or FakeBus(), seals=FakeSeals("agent-user-context"), now=Clock())
    return ScriptedAgent(ports, "UserContextAgent", outputs)


def _answers(agent: ConversableAgent) -> list[AgentMessage]:
    bus = agent.ports.bus
    assert isinstance(bus, FakeBus)
    return [msgspec.json.decode(message.data, type=AgentMessage) for message in bus.on("agent-results")]


def test_every_agent_of_the_topology_has_its_class_and_its_actions() -> None:
    """Prevents: an agent in the topology whose requests are all poison."""
    for agent in topology.load().agents:
        if agent.name == "MasterOrchestratorAgent":
            continue
        found = registry.find_class(agent.name)
        assert found.name == agent.name
        assert registry.find_hosted(agent.function) == agent.name
        assert set(agent.actions) <= set(vars(found)), "an action of the topology is not a method of the agent"


def test_a_function_without_an_agent_is_told_so() -> None:
    """Prevents: a deployment that answers for nobody, or for the wrong agent."""
    with pytest.raises(LookupError, match="'collect'"):
        registry.find_hosted("collect")


def test_an_answer_goes_back_to_the_asker_with_the_same_ids() -> None:
    """Prevents: answers that the orchestrator cannot place."""
    agent = _scripted()
    agent.handle(*make_request())
    [answer] = _answers(agent)
    assert (answer.task_id, answer.parent_task_id, answer.correlation_id) == ("s1", "t1", "m1")
    assert (answer.source_agent, answer.target_agent) == ("UserContextAgent", "MasterOrchestratorAgent")
    assert (answer.kind, answer.payload["status"]) == (Kind.RESPONSE, "COMPLETED")
    assert answer.payload["output"] == OUTPUTS["summarise"]


def test_a_request_delivered_twice_is_worked_on_once_and_answered_twice() -> None:
    """Prevents: two different answers to one request, and a lost answer that is never said again."""
    agent = _scripted()

    def work(_task: Task) -> Json:
        return {"n": len(agent.worked)}

    agent.outputs = {"summarise": work}
    agent.handle(*make_request())
    agent.handle(*make_request())
    assert [answer.payload["output"] for answer in _answers(agent)] == [{"n": 1}, {"n": 1}]
    assert len(agent.worked) == 1


def test_two_deliveries_at_once_give_one_answer() -> None:
    """Prevents: the blackboard and the bus saying different things after two instances worked at the same time."""
    agent = _scripted()
    begun: list[Task] = []

    def work(task: Task) -> Json:
        begun.append(task)
        if len(begun) == 1:
            agent.handle(*make_request())  # the other delivery comes and is done while this one thinks
            return {"n": 2}
        return {"n": 1}

    agent.outputs = {"summarise": work}
    agent.handle(*make_request())
    assert [answer.payload["output"] for answer in _answers(agent)] == [{"n": 1}, {"n": 1}]


def test_a_crash_before_the_answer_is_out_does_not_work_again() -> None:
    """Prevents: paying a model twice because a publish failed."""
    bus = ShakyBus(World().chance, share=2.0)
    agent = _scripted(bus=bus)
    with pytest.raises(Crash):
        agent.handle(*make_request())
    bus.share = 0.0
    agent.handle(*make_request())
    assert (len(agent.worked), len(_answers(agent))) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "delete_everything"}, "no action 'delete_everything'"),
        ({"source_agent": "UserContextAgent", "kind": Kind.EVENT}, "not a event"),
    ],
)
def test_what_an_agent_cannot_do_is_poison(changes: Json, reason: str) -> None:
    """Prevents: a message that is tried again for ever."""
    agent = _scripted()
    with pytest.raises(Poison, match=reason):
        agent.handle(*make_request(**changes))
    assert not agent.worked


def test_a_command_is_carried_out_and_not_answered() -> None:
    """Prevents: answers that nobody waits for, which the receiver takes for poison."""
    agent = _scripted()
    agent.handle(*make_request(kind=Kind.COMMAND))
    assert len(agent.worked) == 1
    assert not _answers(agent)


def test_a_message_for_another_agent_is_left_to_it() -> None:
    """Prevents: two agents that answer one request, and dead letters on a bus that ignores filters."""
    agent = _scripted()
    agent.handle(*make_request(target_agent="CreativeContentAgent", action="write_email"))
    assert not agent.worked
    assert not _answers(agent)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"taskId": ""}', b"\xff"])
def test_what_is_no_message_is_poison(data: bytes) -> None:
    """Prevents: redelivering for days what nobody can read."""
    with pytest.raises(Poison):
        _scripted().handle(data, {})


def test_a_declared_failure_is_an_answer_and_any_other_is_tried_again() -> None:
    """Prevents: giving up on a hiccup, and retrying what can never work."""
    failing = _scripted({"summarise": StepFailed("nobody there")})
    failing.handle(*make_request())
    payload = _answers(failing)[0].payload
    assert (payload["status"], payload["reason"], "retryable" in payload) == ("FAILED", "nobody there", False)
    ill = _scripted({"summarise": ConnectionError("hiccup")})
    with pytest.raises(ConnectionError):
        ill.handle(*make_request())
    assert not _answers(ill)


def test_past_the_deadline_nothing_is_begun_but_the_asker_is_told() -> None:
    """Prevents: work that nobody waits for, and a task that waits for work that nobody began."""
    agent = _scripted()
    agent.handle(*make_request(deadline=START - timedelta(seconds=1)))
    assert not agent.worked
    assert _answers(agent)[0].payload["status"] == Status.FAILED


def test_an_unusable_payload_fails_the_step() -> None:
    """Prevents: a task that hangs because its request was put aside as poison."""
    agent = _scripted()
    agent.handle(*make_request(payload={"user": "u1"}))
    assert "payload is not usable" in _answers(agent)[0].payload["reason"]


# RecommendationAgent

CANDIDATE = {"product_id": "p1", "score": 0.9, "name": "Lamp", "category": "light", "price": Decimal("2.55")}


def _recommendation_agent(rows: list[dict[str, Any]]) -> RecommendationAgent:
    warehouse = FakeWarehouse({"current_candidates": rows})
    recommender = service.Ports(
        warehouse=warehouse, graph=FakeGraph(), models=FakeGateway(), serving=FakeServing(), now=Clock()
    )
    return RecommendationAgent(_ports(), recommender)


def test_a_choice_is_an_output_a_row_and_a_profile_field() -> None:
    """Prevents: a recommendation that goes out but that neither the warehouse nor the person's profile knows."""
    agent = _recommendation_agent([CANDIDATE])
    task = msgspec.structs.replace(_task(summarise={"userId": "u1", "language": "en"}), parent_task_id="t1")
    output = agent.choose(task)
    assert msgspec.convert(output, ChosenProduct).price == Decimal("2.55")
    assert output["productId"] == "p1"
    bus = agent.ports.bus
    assert isinstance(bus, FakeBus)
    [row] = bus.on("recommendations")
    kept = msgspec.json.decode(row.data, type=Recommendation)
    assert (kept.task_id, kept.channel, kept.product_id) == ("t1", "swarm", "p1")
    [message] = bus.on("user-profile-updates")
    update = msgspec.json.decode(message.data, type=ProfileUpdate)
    assert (update.user_id, update.event_id) == ("u1", kept.recommendation_id)
    assert update.fields["recommendation"]["productId"] == "p1"


def test_nothing_to_recommend_is_an_honest_failure() -> None:
    """Prevents: redelivering a request that can never be answered."""
    with pytest.raises(StepFailed, match="no product"):
        _recommendation_agent([]).choose(_task())


def _named_agent(known: dict[str, Any] | None) -> RecommendationAgent:
    agent = _recommendation_agent([CANDIDATE])
    warehouse = FakeWarehouse({"FROM argo.product_catalog AS product": [known] if known else []})
    recommender = service.Ports(
        warehouse=warehouse, graph=FakeGraph(), models=FakeGateway(), serving=FakeServing(), now=Clock()
    )
    return RecommendationAgent(agent.ports, recommender)


def test_the_product_that_a_moment_names_is_the_one_that_is_chosen() -> None:
    """Prevents: "what you looked at costs less now" above a picture of something else."""
    known = {"product_id": "p9", "name": "Vase", "price": Decimal("7.50"), "in_stock": True, "bought_at": None}
    task = _task(product_id="p9", summarise={"userId": "u1", "language": "en"})
    chosen = msgspec.convert(_named_agent(known).choose(task), ChosenProduct)
    assert (chosen.product_id, chosen.price, chosen.chosen_by) == ("p9", Decimal("7.50"), "moment")
    assert chosen.reason == "You looked at it lately."


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, "no product 'p9' is known"),
        ({"product_id": "p9", "name": "Vase", "in_stock": False}, "may not be recommended: the rule stock"),
        ({"product_id": "p9", "name": "Vase", "bought_at": START}, "may not be recommended: the rule bought"),
    ],
)
def test_a_named_product_is_held_to_the_rules(known: dict[str, Any] | None, reason: str) -> None:
    """Prevents: a moment that gets around what the business forbids."""
    with pytest.raises(StepFailed, match=reason):
        _named_agent(known).choose(_task(product_id="p9"))


def test_what_goes_with_a_product_is_looked_for_around_that_product() -> None:
    """Prevents: a season's email that shows anything but what goes with what the person had."""
    warehouse = FakeWarehouse({"current_candidates": [CANDIDATE]})
    recommender = service.Ports(
        warehouse=warehouse, graph=FakeGraph(), models=FakeGateway(), serving=FakeServing(), now=Clock()
    )
    RecommendationAgent(_ports(), recommender).choose(_task(related_to="p7"))
    assert [given["recent_ids"] for _, given in warehouse.asked if "recent_ids" in given] == [["p7"]]


def test_a_playbooks_own_values_reach_the_agent_as_they_stand() -> None:
    """Prevents: an input such as $moment.product_id, a text, that fails the whole request as unusable."""
    inputs = {"product_id": "p9", "limit": 3, "tags": ["a"], "sure": True}
    agent = _scripted()
    payload = {"userId": "u1", "moment": {"momentId": "m1", "kind": "lapsed_buyer"}, "inputs": inputs}
    agent.handle(*make_request(payload=payload))
    assert _answers(agent)[0].payload["status"] == "COMPLETED"
    (task,) = agent.worked
    assert task.inputs == inputs
    with pytest.raises(StepFailed, match="its input limit must be a text, not 3"):
        task.read_text("limit")


# CreativeContentAgent

WRITTEN: Json = {"subject": "A\nlamp", "text": "Hello", "html": "<p>Hello</p>", "imagePrompt": "a lamp"}


def test_an_email_is_asked_for_with_the_agreed_data_blocks() -> None:
    """Prevents: data blocks by other names than the prompt and the gateway know."""
    gateway = FakeGateway({"write_email@1": WRITTEN}, model="m-1")
    agent = CreativeContentAgent(_ports(), gateway)
    inputs: dict[str, Json] = {"choose": to_json(LAMP), "summarise": {"userId": "u1", "language": "ko"}}
    email = agent.write_email(_task(**inputs))
    [asked] = gateway.asked
    assert asked.data["moment"] == {"kind": "lapsed_buyer", "orders": 5}
    assert asked.data["context"]["language"] == "ko"
    assert asked.data["recommendation"]["productId"] == "p1"
    assert (email["writtenBy"], email["language"], email["productId"]) == ("m-1", "ko", "p1")
    assert email["subject"] == "A lamp"
    assert email["text"].endswith("{{unsubscribe}}")
    assert email["html"].endswith("<p>{{unsubscribe}}</p>")


@pytest.mark.parametrize("answer", [ModelUnavailable("no"), ModelRefused("no"), {"subject": "only"}])
@pytest.mark.parametrize(("language", "word"), [("ko", "안녕하세요"), ("en", "Hello"), ("fr", "Hello")])
def test_without_a_model_a_template_speaks_the_persons_language(answer: Any, language: str, word: str) -> None:
    """Prevents: no email at all when the model is down, and a template that hides that it is one."""
    agent = CreativeContentAgent(_ports(), FakeGateway({"write_email@1": answer}))
    inputs: dict[str, Json] = {"choose": to_json(LAMP), "summarise": {"userId": "u1", "language": language}}
    email = agent.write_email(_task(**inputs))
    assert email["writtenBy"] == "template"
    assert word in email["text"]
    assert find_violations(msgspec.convert(email, Email), LAMP, collect_evidence("u1", LAMP, {}), HOSTS) == []


def test_nothing_is_written_without_a_product() -> None:
    """Prevents: an email about nothing."""
    with pytest.raises(StepFailed, match="choose"):
        CreativeContentAgent(_ports(), FakeGateway()).write_email(_task())


def test_what_others_charge_is_not_handed_to_the_writer() -> None:
    """Prevents: an email that compares with another shop."""
    gateway = FakeGateway({"write_email@1": WRITTEN}, model="m-1")
    signals = [{"kind": kind, "observedAt": START.isoformat()} for kind in ("competitor_price", "season")]
    inputs: dict[str, Json] = {"choose": to_json(LAMP), "find_signals": {"signals": signals}}
    CreativeContentAgent(_ports(), gateway).write_email(_task(**inputs))
    told = gateway.asked[0].data["moment"]["outside"]["signals"]
    assert [signal["kind"] for signal in told] == ["season"]


# SecurityGuardianAgent


def _review(email: Email, answer: Any = None) -> Json:
    gateway = FakeGateway({"review_message@2": answer or {"approved": True, "reasons": []}}, model="m-1")
    return SecurityGuardianAgent(_ports(), gateway, HOSTS).review(
        _task(write_email=to_json(email), choose=to_json(LAMP))
    )


def test_a_clean_email_is_approved_by_rules_and_model() -> None:
    """Prevents: a guardian that refuses everything."""
    assert _review(CLEAN) == {"approved": True, "reasons": [], "reviewedBy": "rules, m-1"}


@pytest.mark.parametrize(
    "answer",
    [
        {"approved": False, "reasons": ["a claim"]},
        {"approved": True, "reasons": ["but"]},  # a yes with reasons against it is a no
        {"approved": False, "reasons": []},
        {"approved": "yes", "reasons": []},
        {},
        ModelRefused("unknown key"),
    ],
)
def test_any_doubt_of_the_model_is_a_no(answer: Any) -> None:
    """Prevents: an email that leaves because the check was broken."""
    with pytest.raises(StepFailed, match="refused"):
        _review(CLEAN, answer or {"x": 1})


def test_a_model_that_cannot_be_asked_is_tried_again_and_nothing_leaves() -> None:
    """Prevents: failing open when the gateway is down."""
    with pytest.raises(ModelUnavailable):
        _review(CLEAN, ModelUnavailable("503"))


def test_the_model_is_not_asked_about_what_rules_refuse() -> None:
    """Prevents: a model that can be talked into what a rule forbids."""
    gateway = FakeGateway({"review_message@2": {"approved": True, "reasons": []}})
    agent = SecurityGuardianAgent(_ports(), gateway, HOSTS)
    email = msgspec.structs.replace(CLEAN, text=CLEAN.text + "\nmail me: eve@evil.example")
    with pytest.raises(StepFailed, match="an email address"):
        agent.review(_task(write_email=to_json(email), choose=to_json(LAMP)))
    assert not gateway.asked
