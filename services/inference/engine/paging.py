"""Which pages each answer holds: taken as it grows, shared between equal beginnings, copied when answers part."""

from services.inference.engine.answer import Answer
from services.inference.engine.cache import PAGE, PagedCache
from services.inference.engine.prefix import PrefixIndex
from services.inference.engine.sequence import RequestSequence


class Paging:
    """The page tables of all answers. With `reuse`, full pages are found again by what is in them."""

    def __init__(self, cache: PagedCache, reuse: bool) -> None:
        self._cache = cache
        self._prefixes = PrefixIndex(cache)
        self._reuse = reuse

    def grow(self, answer: Answer, positions: int) -> None:
        """Pages for so many positions."""
        while len(answer.pages) * PAGE < positions:
            answer.pages.append(self._cache.allocate())

    def advance(self, sequence: RequestSequence, answer: Answer, positions: int) -> None:
        """So many positions are computed; full pages become known to others. Beams stay unknown: most die."""
        answer.cached = positions
        if not self._reuse or (sequence.beams is not None and sequence.forked):
            return
        while positions >= (answer.known_pages + 1) * PAGE:
            page = answer.known_pages
            self._prefixes.add(sequence.key_after(answer, page + 1), answer.pages[page])
            answer.known_pages += 1

    def adopt(self, sequence: RequestSequence) -> None:
        """Take over pages of the same beginning, also those that a neighbour has computed meanwhile.

        The last token of the prompt is always computed: its logits are what the answer begins with.
        """
        if sequence.reserved:
            self._adopt_preset(sequence)
        else:
            self._adopt_known(sequence)

    def reserve(self, sequence: RequestSequence) -> None:
        """Keep the pages of its preset for a request that waits."""
        for page in sequence.reserved:
            self._cache.retain(page)

    def give_back(self, sequence: RequestSequence) -> None:
        """Release what was reserved and not adopted."""
        for page in sequence.reserved:
            self._cache.release(page)
        sequence.reserved = []

    def _adopt_preset(self, sequence: RequestSequence) -> None:
        """Full pages are shared; one that the text goes on in is copied, unless a neighbour has computed it."""
        answer, full = sequence.first, sequence.preset // PAGE
        answer.pages, sequence.reserved = sequence.reserved[:full], sequence.reserved[full:]
        answer.cached, answer.known_pages = full * PAGE, full
        self._adopt_known(sequence)
        if answer.cached < sequence.preset:
            answer.pages.append(self._cache.allocate())
            self._cache.copy(sequence.reserved[0], answer.pages[full])
            answer.cached = sequence.preset
        self.give_back(sequence)

    def _adopt_known(self, sequence: RequestSequence) -> None:
        answer = sequence.first
        if not self._shares(sequence) or answer.cached != len(answer.pages) * PAGE:
            return
        while answer.cached + PAGE < sequence.prompt_tokens:
            page = self._prefixes.find(sequence.page_key(len(answer.pages) + 1))
            if page is None:
                return
            self._cache.retain(page)
            answer.pages.append(page)
            answer.known_pages += 1
            sequence.cached_tokens += PAGE - max(0, sequence.preset - answer.cached)
            answer.cached += PAGE

    def held_by_others(self, sequence: RequestSequence) -> int:
        """Pages of its prompt that running requests hold: they cost nothing more."""
        held = sequence.preset // PAGE
        if self._shares(sequence):
            for count in range(held + 1, (sequence.prompt_tokens - 1) // PAGE + 1):
                page = self._prefixes.find(sequence.page_key(count))
                if page is None:
                    break
                held += self._cache.users(page) > 0
        return held

    def fork(self, sequence: RequestSequence) -> None:
        """The prompt is computed: the other answers share its full pages and get a copy of the last one."""
        sequence.forked = True
        first = sequence.first
        for answer in sequence.answers[1:]:
            answer.pages = self._copied(first.pages, first.cached)
            answer.cached, answer.known_pages = first.cached, first.known_pages

    def rebranch(self, sequence: RequestSequence, parents: list[int], tokens: list[int]) -> None:
        """Beam i continues what beam `parents[i]` was, with a new token. Dropped beams give back before others take."""
        sequence.forked = True
        old = [(beam.pages, beam.cached, list(beam.generated)) for beam in sequence.answers]
        for index, (pages, _, _) in enumerate(old):
            if index not in parents:
                for page in pages:
                    self._cache.release(page)
        heirs: set[int] = set()
        for beam, parent, token in zip(sequence.answers, parents, tokens, strict=True):
            pages, cached, generated = old[parent]
            beam.pages = self._copied(pages, cached) if parent in heirs else pages
            beam.cached, beam.generated[:] = cached, [*generated, token]
            heirs.add(parent)

    def release(self, answer: Answer, poisoned: bool = False) -> None:
        """An answer's pages, the last first: the beginning of a text is worth keeping longest.

        Those of a poisoned one are forgotten, and zeroed before their next use.
        """
        for page in reversed(answer.pages):
            if poisoned:
                self._prefixes.forget(page)
                self._cache.taint(page)
            self._cache.release(page)
        answer.pages, answer.cached = [], 0

    def _shares(self, sequence: RequestSequence) -> bool:
        return self._reuse and not sequence.wants_prompt_logprobs

    def _copied(self, pages: list[int], cached: int) -> list[int]:
        """A page table of the same content: full pages shared, the last one copied while it is being filled."""
        full = cached // PAGE
        for page in pages[:full]:
            self._cache.retain(page)
        copied = pages[:full]
        if cached % PAGE:
            copied.append(self._cache.allocate())
            self._cache.copy(pages[full], copied[full])
        return copied
