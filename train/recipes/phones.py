"""Recipes of the step before stage 1: made-up speech, and an audio encoder that hears phones in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.motion.networks.lip import LipConfig
from train.data.speech import synthetic_speech
from train.recipes.recipe import Experiment, TrainingRecipe, recipe
from train.tasks.phones import PhonesConfig, PhonesTask
from train.trainer import TrainingResult
from train.trainer_config import TrainerConfig

_SPEECH = Path("runs/speech")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRecipe(synthetic_speech.SpeechConfig):
    """A corpus of made-up speech."""

    def run(self) -> Mapping[str, Any]:
        """Speak it."""
        speech = synthetic_speech.prepare_speech(self)
        return {"utterances": len(speech.first), "minutes": round(len(speech.mel) / 80 / 60, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhonesRecipe(TrainingRecipe):
    """The audio encoder on a corpus of made-up speech; stage 1 begins with its checkpoint."""

    task: PhonesConfig
    speech: Path = _SPEECH

    def build(self) -> Experiment:
        """Read the corpus, make the encoder."""
        task = PhonesTask(self.task, synthetic_speech.load_speech(self.speech), self.trainer.seed)
        return Experiment(task, _export_nothing)


def _export_nothing(result: TrainingResult, folder: Path) -> None:
    """Nothing: the encoder alone moves no lips; stage 1 exports it with the rest."""


@recipe
def prepare_speech() -> SpeechRecipe:
    """Sentences spoken by flite and espeak-ng in many voices, with the time of every phone: ``out=FOLDER``."""
    return SpeechRecipe(out=_SPEECH)


@recipe
def open_phones() -> PhonesRecipe:
    """The audio encoder of stage 1 learns to hear phones in made-up speech.

    Not in the paper, which trains on hours of video. ``speech`` is the folder of `prepare_speech`.
    """
    return PhonesRecipe(
        task=PhonesConfig(network=LipConfig.lite().audio_encoder()),
        trainer=TrainerConfig.open("open_phones", 1600),
    )
