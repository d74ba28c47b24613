"""Words of clusters: the distinctive ones, and only those that many people use."""

import numpy as np

from monitor.profile.clusters import cluster_words, readable_words, shared_words


def test_a_word_is_kept_from_five_different_texts_on_and_the_same_text_counts_once() -> None:
    texts = [f"lost card {'abcdefgh'[i]}{i}x" for i in range(4)] + ["lost card"] * 20
    assert set(shared_words(texts, None)) == {"lost", "card"}
    assert set(shared_words(texts[:4] + ["card"] * 20, None)) == {"card"}
    assert not shared_words(["lost card"] * 50, None)


def test_a_word_that_one_person_uses_again_and_again_is_not_kept() -> None:
    texts = [f"this is kowalski {word}" for word in ("one", "two", "three", "four", "five", "six")]
    assert "kowalski" in shared_words(texts, None)
    assert not shared_words(texts, ["p1"] * 6)
    assert "kowalski" not in shared_words(texts, ["p1", "p2", "p3", "p4", "p4", "p4"])
    assert "kowalski" in shared_words(texts, ["p1", "p2", "p3", "p4", "p5", "p1"])
    assert "kowalski" in shared_words(texts, [None] * 6)


def test_markers_of_redaction_numbers_and_codes_are_no_words() -> None:
    said = "Card [card:0123456789ab] of [email:abcdefabcdef] ends 4711, ref AB12CD, a " + "x" * 31
    assert readable_words(said) == {"card", "of", "ends", "ref"}


def test_no_word_ends_before_a_vowel_sign_or_a_tone() -> None:
    assert readable_words("คริปโต วันนี้") == {"คริปโต", "วันนี้"}
    assert readable_words("मेरा कार्ड खो गया") == {"मेरा", "कार्ड", "गया"}  # a letter with its sign is too short
    assert readable_words("cafe\u0301") == {"cafe\u0301"}


def test_the_words_of_a_cluster_are_those_it_has_more_often_than_the_rest() -> None:
    lost = [f"please my card is lost {'xyzuvw'[i % 6]}q {i}" for i in range(12)]
    rate = [f"please what rate is charged {'xyzuvw'[i % 6]}q {i}" for i in range(24)]
    clusters = np.array([0] * 12 + [2] * 24)
    found = cluster_words([*lost, *rate, None], np.append(clusters, -1), None)
    assert len(found) == 3
    assert set(found[0]) == {"my", "card", "lost"}
    assert found[1] == ()
    assert set(found[2]) == {"what", "rate", "charged"}


def test_words_come_in_order_of_their_contribution_computed_by_hand() -> None:
    texts = [f"a{'bcdefghijk'[i]} both" for i in range(10)]
    texts = [
        text + (" often" if i < 5 else "") + (" rare" if i in {0, 6, 7, 8, 9} else "") for i, text in enumerate(texts)
    ]
    found = cluster_words(texts, np.array([0] * 5 + [1] * 5), None)
    # often: 1 log(1 / 0.5); rare in cluster 1: 0.8 log(0.8 / 0.5); both is everywhere
    assert found == (("often",), ("rare",))
