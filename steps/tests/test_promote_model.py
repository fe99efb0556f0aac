import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from kfp.dsl import Dataset, Markdown, Metrics, Model
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from steps import champions
from steps.features import fit_preprocessor
from steps.model_folder import load_model, read_facts
from steps.promote_model import promote_model
from steps.promotion.judging import judge
from steps.shared import sha256_of

CLASSES = [*"abcdef"]


def table(seed, n_rows=1800):
    """Rows whose class follows from two of their columns."""
    rng = np.random.default_rng(seed)
    size, colour = rng.uniform(0, 3, n_rows), rng.choice(["red", "green"], n_rows)
    kind = [CLASSES[int(number) + 3 * (name == "red")] for number, name in zip(size, colour, strict=True)]
    return pd.DataFrame({"size": size, "colour": colour, "kind": kind})


def mixed_up(rows, share, classes=CLASSES, seed=0):
    """The same rows with a share of the labels of some classes taken from others."""
    rng = np.random.default_rng(seed)
    is_wrong = (rng.uniform(size=len(rows)) < share) & rows["kind"].isin(classes)
    return rows.assign(kind=rows["kind"].where(~is_wrong, rng.permutation(rows["kind"])))


@pytest.fixture
def promoted(artifact, tmp_path):
    """Fit a model on rows, and let it be promoted on others; returns what came of it."""
    numbers = iter(range(100))

    def run(train, test, label="kind", place=tmp_path / "runs" / "x" / "champion.json", of=None, **given):
        number = next(numbers)
        kind = "date" if train["size"].dtype.kind == "M" else "number"
        readings = {"size": {"kind": kind}, "colour": {"kind": "text"}, "more": {"kind": "number"}}
        pipeline, features = fit_preprocessor(train, [label], readings, 0)
        trees = HistGradientBoostingClassifier(max_iter=4, categorical_features="from_dtype", early_stopping=False)
        model = make_pipeline(*pipeline, OneVsRestClassifier(trees).fit(features, train[label].to_numpy()))
        challenger = artifact(Model)
        Path(challenger.path).mkdir()
        file = Path(challenger.path, "model.joblib")
        if of is None:
            joblib.dump(model, file)
        else:
            shutil.copy(Path(of.folder, "model.joblib"), file)
        challenger.metadata.update(file=file.name, sha256=sha256_of(str(file)))
        told = {"label": label, "source": "table.csv", "fingerprint": given.pop("fingerprint", f"{number}")}
        told |= {"split_by": "", "group_by": "", "test_size": 0.5, "seed": 0.0, "duplicates_in_train": 0.0}
        predicted = model.predict(test)
        f1 = f1_score(test[label], predicted, labels=model.classes_, average=None)
        figures = {"accuracy": float((predicted == test[label]).mean()), "macro_f1": float(f1.mean())}
        figures |= {f"f1_{code}": value for code, value in enumerate(f1.tolist())}
        figures |= {f"rows_{code}": float((test[label] == name).sum()) for code, name in enumerate(model.classes_)}
        outputs = {"model": Model(uri=f"{tmp_path}/runs/x/{number}/model"), "verdict": artifact(Markdown)}
        Path(outputs["model"].path).parent.mkdir(parents=True)
        name = promote_model.python_func(
            challenger,
            artifact(Dataset, train, **told),
            artifact(Dataset, test, **told),
            Metrics(uri="", metadata=figures),
            artifact(Dataset, pd.DataFrame({"predicted": predicted})),
            **outputs,
            run=f"job-{number}",
            champion=str(place),
            **given,
        )
        told = outputs["verdict"].metadata
        return SimpleNamespace(
            verdict=name,
            told=told,
            reasons="\n".join(told["reasons"]),
            folder=outputs["model"].path,
            text=Path(outputs["verdict"].path).read_text("utf-8"),
            champion=place and champions.read(str(place)),
        )

    return run


TRAIN, TEST = table(1), table(2)


def test_first_model_promotes_itself(promoted):
    first = promoted(TRAIN, TEST)
    assert first.verdict == "promoted"
    assert first.champion.run == "job-0"
    assert first.champion.model == "0/model"
    assert first.champion.figures["macro_f1"] > 0.9
    assert first.text.startswith("promoted: it is the first model")


def test_better_challenger_takes_the_champions_place(promoted):
    promoted(mixed_up(TRAIN, 0.9), TEST)
    better = promoted(TRAIN, TEST)
    assert better.verdict == "promoted"
    assert better.champion.run == "job-1"
    assert [each["run"] for each in better.champion.before] == ["job-0"]
    assert better.told["low"] > 0
    assert "on the same 1,800 test rows" in better.reasons


def test_worse_challenger_is_kept_out(promoted):
    promoted(TRAIN, TEST)
    worse = promoted(mixed_up(TRAIN, 0.9), TEST)
    assert worse.verdict == "kept"
    assert worse.champion.run == worse.told["champion"] == "job-0"
    assert worse.told["high"] < 0
    assert "it is worse" in worse.reasons


def test_equal_challengers_are_a_tie(promoted):
    same_file = promoted(TRAIN, TEST, of=promoted(TRAIN, TEST))
    assert (same_file.verdict, same_file.champion.run) == ("tie", "job-0")
    assert "same file" in same_file.reasons
    as_good = promoted(table(3), TEST)
    assert (as_good.verdict, as_good.champion.run) == ("tie", "job-0")
    assert "chance explains it" in as_good.reasons
    assert as_good.told["low"] <= 0 <= as_good.told["high"]


def test_challenger_that_loses_a_class_is_kept_out_though_it_is_better_overall(promoted):
    others = CLASSES[:-1]
    promoted(mixed_up(TRAIN, 0.95, others), TEST)
    challenger = mixed_up(TRAIN, 1.0, ["f"])
    lost = promoted(challenger, TEST)
    assert lost.told["low"] > 0
    assert lost.verdict == "kept"
    assert re.search(r"lose more F1 than the 0.02 of max_class_loss: 'f' 0\.\d+", lost.reasons)
    assert lost.champion.run == "job-0"
    allowed = promoted(challenger, TEST, max_class_loss=1.0)
    assert (allowed.verdict, allowed.champion.run) == ("promoted", "job-2")


def test_champion_is_measured_on_rows_that_it_was_not_trained_on(promoted):
    """A champion that has learned the test rows by heart would win against any other."""
    both = pd.concat([TRAIN, TEST], ignore_index=True)
    promoted(both.iloc[200:], both.iloc[:200])
    part = promoted(TRAIN, pd.concat([TEST, TRAIN.iloc[:200]], ignore_index=True))
    assert part.told["rows"] == 200
    assert "1,800 of 2,000 test rows stand among the champion's training rows" in part.reasons
    none = promoted(TRAIN.iloc[:900], TEST)
    assert none.verdict == "kept"
    assert "trained on rows equal to each of the 1,800 test rows" in none.reasons
    assert "python -m pipeline promote" in none.reasons


def test_rows_are_known_again_in_another_type_and_order_of_columns(promoted):
    promoted(TRAIN, TEST)
    again = TRAIN.iloc[:300].astype({"size": str})[["kind", "colour", "size"]]
    seen = promoted(table(5), pd.concat([TEST.astype({"size": str}), again])[["colour", "kind", "size"]])
    assert "300 of 2,100 test rows stand among the champion's training rows" in seen.reasons


def test_same_split_of_the_same_table_is_compared_on_all_test_rows(promoted):
    """Both models have seen a test row that stands in the training part as well."""
    test = pd.concat([TEST, TRAIN.iloc[:100]], ignore_index=True)
    promoted(mixed_up(TRAIN, 0.0), test, fingerprint="same")
    second = promoted(TRAIN.sample(frac=0.5, random_state=0), test, fingerprint="same")
    assert second.told["rows"] == 1900


def test_champion_of_other_columns_is_told_by_their_names(promoted):
    promoted(TRAIN.assign(more=1.0), TEST.assign(more=2.0))
    other = promoted(TRAIN, TEST)
    assert (other.verdict, other.champion.run) == ("kept", "job-0")
    assert "does not have: ['more']" in other.reasons
    label = promoted(*(rows.rename(columns={"kind": "sort"}) for rows in (TRAIN, TEST)), label="sort")
    assert label.verdict == "kept"
    assert "predicts 'kind', and this model 'sort'" in label.reasons


def test_champion_that_cannot_read_todays_table_is_told(promoted):
    promoted(TRAIN, TEST)
    dated = [rows.assign(size=pd.Timestamp("2026-01-01")) for rows in (TRAIN, TEST)]
    wrong = promoted(*dated)
    assert (wrong.verdict, wrong.champion.run) == ("kept", "job-0")
    assert "cannot read today's table: The column 'size' holds datetime64[us]" in wrong.reasons


def test_tampered_champion_is_not_loaded(promoted):
    first = promoted(TRAIN, TEST)
    with open(Path(first.folder, "model.joblib"), "ab") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match="is not the file that was recorded"):
        promoted(mixed_up(TRAIN, 0.5), TEST)
    assert champions.read(str(Path(first.folder).parents[1] / "champion.json")).run == "job-0"


def test_champion_whose_record_was_replaced_with_its_file_is_not_loaded(promoted):
    """The SHA-256 that counts is the one in champion.json, not the one beside the model."""
    first = promoted(TRAIN, TEST)
    file = Path(first.folder, "model.joblib")
    file.write_bytes(file.read_bytes() + b"!")
    facts = Path(first.folder, "model.json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"sha256": sha256_of(str(file))}))
    with pytest.raises(ValueError, match="is not the file that was recorded"):
        promoted(mixed_up(TRAIN, 0.5), TEST)


def test_another_that_is_promoted_meanwhile_is_the_one_to_beat(promoted, monkeypatch):
    promoted(mixed_up(TRAIN, 0.9), TEST)
    promote, others = champions.promote, []

    def after_another(place, new, former):
        if new.run == "job-1" and not others:
            others.append(promoted(table(3), TEST))
        return promote(place, new, former)

    monkeypatch.setattr(champions, "promote", after_another)
    late = promoted(TRAIN, TEST)
    assert others[0].verdict == "promoted"
    assert (late.verdict, late.champion.run) == ("tie", "job-2")
    assert [each["run"] for each in late.champion.before] == ["job-0"]


def test_without_a_place_nothing_is_promoted(promoted):
    alone = promoted(TRAIN, TEST, place="")
    assert alone.verdict == "kept"
    assert "no champion is kept" in alone.reasons
    assert load_model(alone.folder).predict(TEST).shape == (1800,)


def test_folder_says_what_the_model_is_and_takes(promoted):
    folder = promoted(TRAIN, TEST, licence="CC BY 4.0").folder
    facts = read_facts(folder)
    assert facts["classes"] == CLASSES
    assert facts["columns"] == {"size": {"kind": "number"}, "colour": {"kind": "text"}}
    assert facts["example"] == {"size": TRAIN["size"][0], "colour": TRAIN["colour"][0]}
    assert facts["identifier"] == "x"
    assert sum(facts["class_mix"].values()) == pytest.approx(1)
    reference = pd.read_parquet(Path(folder, "reference.parquet"))
    pd.testing.assert_frame_equal(reference, TRAIN[["size", "colour"]])
    card = Path(folder, "model_card.md").read_text("utf-8")
    assert "Licence: CC BY 4.0" in card
    assert f"`{facts['sha256']}`" in card
    for name in CLASSES:
        assert f"| {name} | {(TEST['kind'] == name).sum()} |" in card


def test_card_shows_names_of_the_data_as_they_are(promoted):
    rows = [frame.replace({"kind": {"a": "<b>|`x`\n# y"}}) for frame in (TRAIN, TEST)]
    card = Path(promoted(*rows).folder, "model_card.md").read_text("utf-8")
    assert "\\<b\\>\\|\\`x\\` \\# y" in card
    assert "<b>" not in card.replace("\\<b\\>", "")


@pytest.mark.slow
def test_script_beside_the_model_predicts_a_table_and_loads_no_other_model(promoted, tmp_path):
    folder = Path(promoted(TRAIN, TEST).folder)
    TEST.drop(columns="kind").to_csv(tmp_path / "rows.csv", index=False)
    command = [sys.executable, "-I", str(folder / "predict.py"), "rows.csv"]
    subprocess.run([*command, "out.csv"], cwd=tmp_path, check=True)
    found = pd.read_csv(tmp_path / "out.csv")
    model = load_model(str(folder))
    assert found["class"].tolist() == model.predict(TEST).tolist()
    np.testing.assert_allclose(found[CLASSES], model.predict_proba(TEST), atol=1e-12)
    TEST.to_parquet(tmp_path / "rows.parquet")
    printed = subprocess.run([*command[:-1], "rows.parquet"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert printed.stdout == (tmp_path / "out.csv").read_text()
    (folder / "model.joblib").write_bytes(b"another")
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "not the file that this script was written for" in refused.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no folder of a model"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"sha256": 1}', "no sha256"),
        ("[" * 9999, "damaged"),
    ],
)
def test_folder_that_is_none_is_told_as_that(tmp_path, content, message):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_model(str(tmp_path))


def test_verdict_is_that_of_the_published_measures():
    rng = np.random.default_rng(0)
    true = rng.choice(CLASSES, 900)
    champion, challenger = (
        np.where(rng.uniform(size=900) < right, true, rng.choice(CLASSES, 900)) for right in (0.5, 0.8)
    )
    verdict = judge(true, champion, challenger, 1.0)
    assert verdict.name == "promoted"
    assert verdict.figures["macro_f1"] == pytest.approx(f1_score(true, challenger, average="macro"))
    assert verdict.figures["champion_macro_f1"] == pytest.approx(f1_score(true, champion, average="macro"))
    difference = verdict.figures["macro_f1"] - verdict.figures["champion_macro_f1"]
    assert verdict.figures["low"] < difference < verdict.figures["high"]
    by_class = f1_score(true, challenger, average=None)
    assert [new for _, new in verdict.figures["f1"].values()] == pytest.approx(by_class.tolist())
    assert judge(true, challenger, champion, 1.0).name == "kept"
    assert judge(true, champion, champion, 0.0).name == "tie"
