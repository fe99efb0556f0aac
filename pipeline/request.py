"""What one command asks for, settled once: the pipeline, its parameters, the data, and the machines that follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfp.dsl.base_component import BaseComponent

from pipeline import (
    RequestError,
    compiler,
    graph,
    loading,
    loops,
    models,
    packages,
    profiles,
    results,
    runs,
    searches,
    sources,
)
from pipeline.engines import Engine
from pipeline.models import FoundModel
from pipeline.run_folders import LATEST
from pipeline.runs import Run
from pipeline.searches import FoundSearch
from pipeline.settings import Settings
from pipeline.sources import Source
from pipeline.target import Target
from steps import champions

if TYPE_CHECKING:
    from pipeline.notifying import Notice


@dataclass(frozen=True)
class Request:
    """A pipeline and what it is to run with. The data is looked for when it is first needed."""

    settings: Settings
    pipeline: str  # its name; of one that is named by a path the whole path
    definition: BaseComponent
    given: dict[str, Any]  # values of --set
    caching: bool  # whether tasks may take their results from a cache
    registers: bool = False  # whether a model that is promoted is registered with Vertex AI
    deploys: str | None = None  # where such a model is served then: vertex or run
    model: str = models.CHAMPION  # what --model named, for a pipeline that uses one
    from_search: str | None = None  # what --from-search named, for a pipeline that takes what a search has found

    @classmethod
    def of(
        cls,
        settings: Settings,
        pipeline: str,
        assignments: Sequence[str] = (),
        no_cache: bool = False,
        registers: bool = False,
        deploys: str | None = None,
        model: str = models.CHAMPION,
        from_search: str | None = None,
    ) -> "Request":
        """Make the request of a command.

        Args:
            settings: The settings, from flags, variables and file.
            pipeline: Name of the pipeline, or its path.
            assignments: What --set was given, each as KEY=VALUE.
            no_cache: Whether no task may take its result from a cache; a schedule, too, reads its data anew each time.
            registers: Whether a model that is promoted is registered with Vertex AI.
            deploys: Where such a model is served then: vertex, run, or None for nowhere.
            model: Name of the model that the pipeline uses, where it uses one; see pipeline.models.find.
            from_search: Name of the search, where the pipeline takes what one has found; see pipeline.searches.find.

        Raises:
            RequestError: there is no such pipeline, or an assignment does not fit it.
        """
        definition = compiler.load(pipeline)
        given = compiler.arguments(definition, assignments)
        for name in given.keys() & {"source", "label"}:
            if compiler.FLAGS[name].removeprefix("--") in settings.model_fields_set:
                raise RequestError(f"{name} is given by {compiler.FLAGS[name]} and by --set. Leave one out.")
        caching = not (no_cache or settings.schedule)
        name = loading.full_name(pipeline)
        return cls(settings, name, definition, given, caching, registers, deploys, model, from_search)

    @cached_property
    def source(self) -> Source:
        """The table that the data names; an empty one, where the pipeline takes none."""
        if not self._follows("source"):
            return Source(name="", uri="", fingerprint="", n_bytes=0, description="none, the pipeline takes no table")
        is_read = self._follows("label") or compiler.takes_model(self.definition)
        written = {name: self.given[name] for name in ("header", "names") if is_read and name in self.given}
        label = self.settings.label if self._follows("label") else None
        return sources.resolve(self.settings.data, label, self.settings.runs_dir / ".data", **written)

    @cached_property
    def found_model(self) -> FoundModel | None:
        """The trained model that the pipeline uses, where it uses one."""
        return models.find(self.settings, self.model) if compiler.takes_model(self.definition) else None

    @cached_property
    def found_search(self) -> FoundSearch | None:
        """What a search has found, where the pipeline takes that."""
        if not compiler.takes_search(self.definition):
            return None
        return searches.find(self.settings, self.from_search or LATEST)

    @cached_property
    def profile(self) -> tuple[str, str]:
        """The name of the machines' profile and the reason for it."""
        return profiles.choose(self.settings.profile, self.source.n_bytes)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters that have others than their defaults, with the data where it was named."""
        # a scheduled job reads what is there at its time
        fingerprint = "" if self.settings.schedule else self.source.fingerprint
        champion = models.champion_place(self.settings) if self.settings.identifier else ""
        values = self.given | self._of_flags(source=self.source.uri, fingerprint=fingerprint, champion=champion)
        if name := values.get("schema_from"):
            former = runs.load(self.settings.required("identifier"), name, self.settings.runs_dir)
            values["schema_from"] = results.schema_of(former)
        return values | self._of_model() | self._of_search() | self._of_loops(self.compile)

    def placed(self, engine: Engine) -> tuple[dict[str, Any], str]:
        """Bring the data, and the schema of an earlier run, to where the engine's first step can read them.

        Returns:
            The parameters with the new places, and what was done in words.
        """
        source, told = engine.place(self.source)
        values = self.parameters | self._of_flags(source=source.uri)
        if values.get("schema_from"):
            values["schema_from"] = engine.place_file(values["schema_from"])
        if compiler.takes_model(self.definition) and not values["model"].endswith(champions.FILE):
            values["model"] = engine.place_model(values["model"], values["sha256"])
        return values, told

    @property
    def stays(self) -> list[str]:
        """What is settled now for all runs of a schedule, in sentences."""
        told = []
        if self.source.files:
            told.append(f"every run reads {self.source.name} as it is now; name gs:// or bq:// for what changes")
        if self.found_model and self.model != models.CHAMPION:
            told.append(f"every run uses {self.found_model.title}; --model champion is that of its day")
        if self.found_search:
            told.append(f"every run fits what {self.found_search.title} has found")
        if self.settings.profile == "auto":
            profile, reason = self.profile
            told.append(
                f"every run gets the machines of profile {profile}, by today's {reason}; --profile names another"
            )
        return told

    def record(self, parameters: dict[str, Any]) -> Run:
        """Return the record of a new run with these parameters, which leaves nothing behind until it begins."""
        return runs.new(
            self.settings.runs_dir,
            identifier=self.settings.required("identifier"),
            pipeline=self.pipeline,
            engine=self.settings.chosen_engine()[0],
            environment=self.settings.env,
            profile=self.profile[0],
            parameters=compiler.resolved(self.definition, parameters),
            data=runs.Data(source=self.source.name, fingerprint=self.source.fingerprint),
        )

    def compile(self) -> str:
        """Return the spec that the engine runs, as YAML."""
        profile, _ = self.profile
        target = replace(self._target(profile), wheels=packages.root(self.settings), notice=self._notice())
        return compiler.compiled(self._registering(profile), target)

    def compile_for_elsewhere(self, path: Path) -> None:
        """Write a spec whose defaults are the values that were given; of what size its data will be is not known."""
        profile, _ = profiles.choose(self.settings.profile, n_bytes=0)
        defaults = self.given | self._of_flags() | (self._of_search() if self.from_search else {})
        if self.registers:  # what is promoted, and so there is a champion to compare with
            self.settings.require("bucket")
            defaults |= self._of_flags(champion=models.champion_place(self.settings))
        pipeline = self._registering(profile)
        target = replace(self._target(profile), notice=self._notice())
        defaults |= self._of_loops(lambda: compiler.compiled(pipeline, target))
        compiler.compile_pipeline(pipeline, path, target, defaults=defaults)

    def _notice(self) -> "Notice | None":
        """Return what the exit handler of a job is to know, None where nobody is to be told or the run is here."""
        if not self.settings.notify:
            return None
        from pipeline.notifying import notice

        return notice(self.settings, self.pipeline)

    def _target(self, profile: str) -> Target:
        """Return what the spec is compiled for."""
        return Target.of(self.settings, profile, caching=self.caching)

    def _registering(self, profile: str) -> BaseComponent:
        """Return the pipeline, with the tasks that register its model where that was asked for."""
        if not self.registers:
            return self.definition
        self.settings.require("identifier", "project", "region")
        if self.deploys == "vertex" and not self.settings.image_of_vertex:
            raise RequestError("--deploy vertex needs an image to serve in, and serving_image is none. Set another.")
        try:
            from pipeline.registering import Registration, registering
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("google_cloud_pipeline_components"):
                raise
            raise RequestError(
                "--register and --deploy vertex need google-cloud-pipeline-components, which is not installed here. "
                "Install what pyproject.toml names: pip install ."
            ) from None

        return registering(self.definition, Registration.of(self.settings, deploys=self.deploys == "vertex"), profile)

    @property
    def takes_no(self) -> set[str]:
        """What the pipeline takes none of, as the table of contradictions names it."""
        found = {f"no {what}" for what, name in (("table", "source"), ("label", "label")) if not self._takes(name)}
        found |= set() if compiler.promotes(self.definition) else {"no promotion"}
        found |= set() if compiler.takes_model(self.definition) else {"no model"}
        return found if compiler.takes_search(self.definition) else found | {"no search"}

    def _takes(self, name: str) -> bool:
        return name in (self.definition.component_spec.inputs or {})

    def _of_model(self) -> dict[str, str]:
        """Return the values of the parameters that say which model is used, of a pipeline that uses one."""
        found = self.found_model
        if found is None:
            return {}
        if self.settings.schedule and self.model == models.CHAMPION:  # a scheduled job uses that of its day
            return {"model": models.champion_place(self.settings), "sha256": ""}
        return {"model": found.folder, "sha256": found.sha256}

    def _of_search(self) -> dict[str, str]:
        """Return the values of the parameters that say what a search has found, of a pipeline that takes that."""
        found = self.found_search
        return {"from_search": found.run_id, "members": found.members} if found else {}

    def _of_loops(self, compiled: Callable[[], str]) -> dict[str, int]:
        """Return how many tasks of a loop run side by side on a service, of a pipeline that shares its time out so."""
        if self.settings.chosen_engine()[0] == "local" or not self._follows("side_by_side"):
            return {}
        return {"side_by_side": loops.side_by_side(graph.parsed(compiled()))}

    def _of_flags(self, **values: str) -> dict[str, str]:
        """Return the values of parameters that follow from flags, of those that the pipeline has."""
        return {name: value for name, value in {**values, "label": self.settings.label}.items() if self._follows(name)}

    def _follows(self, name: str) -> bool:
        """Return whether a parameter's value follows from a flag.

        In a pipeline that takes no table source and label are its own: they follow where the flag is given, or where
        nothing else gives a value.
        """
        known = self.definition.component_spec.inputs or {}
        if name == "champion" and compiler.promotes(self.definition):
            return self._takes(name)
        if not self._takes(name) or compiler.takes_table(self.definition):
            return self._takes(name)
        flag = compiler.FLAGS[name].removeprefix("--")
        needed = not known[name].optional and name not in self.given
        return name in ("source", "label") and (flag in self.settings.model_fields_set or needed)
