"""A text in pieces: every script in more than one where a reader sees more than one, and no character lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.explain.segments import LONGEST, pieces

PARTED = {
    "simplified": ("我的银行卡丢了，请帮我。", ["我", "的", "银行", "卡丢", "了，", "请", "帮", "我。"]),
    "traditional": ("請幫我凍結帳戶。", ["請", "幫", "我", "凍結帳戶。"]),
    "japanese": ("カードをなくしました。再発行してください。", ["カードを", "なくしました。", "再発行してください。"]),
    "thai": ("ฉันทำบัตรหาย", ["ฉัน", "ทำ", "บัตร", "หาย"]),
    "mixed": ("我想 reset 密码 iPhone15を買う", ["我想 ", "reset ", "密码 ", "iPhone15", "を", "買う"]),
    "korean": ("비밀번호를 잊어버렸어요", ["비밀번호를 ", "잊어버렸어요"]),
    "arabic": ("لقد فقدت بطاقتي", ["لقد ", "فقدت ", "بطاقتي"]),
    "marks": ("e\u0301a\u0308 नमस्ते मेरा", ["e\u0301a\u0308 ", "नमस्ते ", "मेरा"]),
    "emoji": ("great!😀👍🏽👨‍👩‍👧 ok", ["great!", "😀", "👍🏽", "👨‍👩‍👧 ", "ok"]),
    "address": ("https://example.com/account?tab=cards&id=123456789", [
        "https://", "example.", "com/", "account?", "tab=", "cards&", "id=", "123456789"]),
    "brackets": ("「こんにちは」と言った", ["「こんにちは」と", "言った"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTED)
def test_a_text_is_parted_as_its_reader_would(name: str) -> None:
    text, wanted = PARTED[name]
    assert pieces(text) == wanted


def test_a_script_that_nobody_parts_is_parted_as_the_model_does_and_never_inside_a_character() -> None:
    khmer = "ខ្ញុំបានបាត់កាត"
    halves = [(0, 5), (5, 8), (8, 9), (9, len(khmer))]
    assert pieces(khmer, lambda _: halves) == ["ខ្ញុំ", "បាន", "បាត់កាត"]
    assert len(pieces(khmer, lambda _: [(0, len(khmer))])) > 3  # one unknown token tells nothing


def test_a_long_string_without_a_space_is_cut() -> None:
    assert [len(piece) for piece in pieces("a" * 100)] == [LONGEST, LONGEST, 20]


def test_white_space_stays_where_it_was() -> None:
    assert pieces("  lead and\ttrail \n") == ["  lead ", "and\t", "trail \n"]
    assert pieces(" \n") == [" \n"]
    assert pieces("") == []


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_joined_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(
    st.lists(st.sampled_from(["我的卡", "カード", "ー", "ทำ", "ခ", "́", "😀", "️", "‍", "a", "12", "。", " ", "\n", "🇩"]))
)
def test_joined_pieces_of_mixed_scripts_are_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(pieces(text)) == text
