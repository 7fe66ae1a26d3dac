"""Why back-translation ends before it is done."""

from services.finetuning.following import Ending


class NotTranslated(Exception):
    """Carries what that means for the run: stopped on request, or failed."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(str(ending))
        self.ending = ending
