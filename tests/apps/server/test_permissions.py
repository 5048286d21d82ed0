"""Permissions of fine-tuned models through the official client: a key lets another use its model, and takes that back."""

import openai
import pytest

from apps.server import keys
from apps.server.database import Database
from tests.apps.server import live
from tests.apps.server.conftest import roomy

NAME = "ft:starter:local:mine:1"
ASK = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}


@pytest.fixture
def people(server_home):
    """The clients of the model's owner and of two others, and the ids of all three keys."""
    with live.serving(require_key=True) as (url, app):
        made = [keys.create(app.state.server.db, name) for name in "abc"]
        roomy(NAME)
        Database().write("DELETE FROM permissions")
        Database().write("INSERT OR REPLACE INTO models VALUES (?, ?)", (NAME, made[0][0]))
        yield [live.client(url, key) for _, key in made], [key_id for key_id, _ in made]


def uses(client):
    """Whether this client sees and may use the model."""
    seen = NAME in [model.id for model in client.models.list()]
    try:
        answers = bool(client.chat.completions.create(model=NAME, **ASK).choices)
        assert client.models.retrieve(NAME).id == NAME
    except openai.NotFoundError:
        answers = False
    assert answers is seen
    return seen


def test_a_model_is_lent_to_the_keys_that_are_named_and_taken_back(people):
    (owner, friend, stranger), (_, friend_id, stranger_id) = people
    permissions = owner.fine_tuning.checkpoints.permissions
    assert [uses(client) for client in (owner, friend, stranger)] == [True, False, False]
    (given,) = permissions.create(NAME, project_ids=[friend_id, friend_id])
    assert (given.object, given.project_id) == ("checkpoint.permission", friend_id)
    assert [uses(client) for client in (owner, friend, stranger)] == [True, True, False]
    (again,) = permissions.create(NAME, project_ids=[friend_id])
    assert again == given
    (other,) = permissions.create(NAME, project_ids=[stranger_id])
    assert [each.id for each in permissions.list(NAME)] == [other.id, given.id]
    assert [each.id for each in permissions.list(NAME, order="ascending", limit=1)] == [given.id, other.id]  # two pages
    assert [each.id for each in permissions.list(NAME, project_id=friend_id)] == [given.id]
    gone = permissions.delete(given.id, fine_tuned_model_checkpoint=NAME)
    assert (gone.id, gone.deleted, gone.object) == (given.id, True, "checkpoint.permission")
    assert [uses(client) for client in (owner, friend, stranger)] == [True, False, True]
    with pytest.raises(openai.NotFoundError):
        permissions.delete(given.id, fine_tuned_model_checkpoint=NAME)


def test_a_borrower_neither_lends_nor_deletes(people):
    (owner, friend, stranger), (_, friend_id, stranger_id) = people
    (given,) = owner.fine_tuning.checkpoints.permissions.create(NAME, project_ids=[friend_id])
    for client, error in ((friend, openai.PermissionDeniedError), (stranger, openai.NotFoundError)):
        permissions = client.fine_tuning.checkpoints.permissions
        for call in (
            lambda p=permissions: p.create(NAME, project_ids=[stranger_id]),
            lambda p=permissions: p.list(NAME),
            lambda p=permissions: p.delete(given.id, fine_tuned_model_checkpoint=NAME),
            lambda c=client: c.models.delete(NAME),
        ):
            with pytest.raises(error):
                call()
    assert uses(friend) and not uses(stranger)


def test_a_checkpoint_is_named_by_its_id_too_and_what_cannot_be_lent_is_refused(people):
    (owner, *_), (_, friend_id, _) = people
    Database().write(
        "INSERT OR IGNORE INTO checkpoints (id, job, created_at, step, model, metrics) VALUES ('ftckpt_1', 'j', 1, 1, ?, '{}')",
        (NAME,),
    )
    permissions = owner.fine_tuning.checkpoints.permissions
    (given,) = permissions.create("ftckpt_1", project_ids=[friend_id])
    assert [each.id for each in permissions.list(NAME)] == [given.id]
    for name, projects in ((NAME, ["proj_abc"]), (NAME, []), ("starter", [friend_id])):
        with pytest.raises(openai.BadRequestError):
            permissions.create(name, project_ids=projects)
    with pytest.raises(openai.NotFoundError):
        permissions.create("ft:starter:local:none:1", project_ids=[friend_id])
