"""References that were collected for a request, among which the model's own answer may be."""

import polars as pl

from monitor.kpi.texts import composed


def without_own_answer(answers: pl.Series, references: pl.Series) -> pl.Series:
    """The references of each row, without one that is the answer itself.

    An answer that was collected together with others (from people, other models or earlier runs) is one of its own
    references. Compared with itself it would be perfect, whatever it says. So one text that equals the answer is left
    out; of two equal ones the other stays, for somebody else gave the same answer. Whether texts are equal is judged in
    NFC and without white space at the ends.

    Args:
        answers: texts, shape (rows,).
        references: lists of texts, shape (rows,).

    Returns:
        Lists of texts, shape (rows,); empty where the answer is the only reference, null where there is none.

    Source: the jackknifing of Lin (2004), section 2.1, which leaves one of several references out.
    """
    if not isinstance(references.dtype, pl.List):
        return references
    lists = []
    for answer, texts in zip(composed(answers).to_list(), composed(references).to_list(), strict=True):
        own = None if answer is None or texts is None else answer.strip()
        at = next((i for i, text in enumerate(texts or ()) if text is not None and text.strip() == own), None)
        lists.append(texts if at is None else texts[:at] + texts[at + 1 :])
    return pl.Series(references.name, lists, dtype=pl.List(pl.String))
