"""How album models read an album (PlaNet section 3.3)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    """How an LSTM reads an album.

    Attributes:
      passes: how often it reads the whole album; it answers in the last pass.
      offset: how many photos further it has read when it answers for one;
        after the album's end it reads blanks.
      bidirectional: another LSTM reads the album backwards, and both answer.
      alone: it reads each photo as an album of its own: no variant of the
        paper's but a control, which tells what the others have from context.
    """

    passes: int = 1
    offset: int = 0
    bidirectional: bool = False
    alone: bool = False


# But for the last one, the paper's.
VARIANTS = {
    "lstm": Variant(),
    "offset1": Variant(offset=1),
    "offset2": Variant(offset=2),
    "repeated": Variant(passes=2),
    "bidirectional": Variant(bidirectional=True),
    "bidirectional_repeated": Variant(passes=2, bidirectional=True),
    "alone": Variant(alone=True),
}
