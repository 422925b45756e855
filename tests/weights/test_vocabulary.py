import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from registry_auditor.errors import NotApplicable, WeightsError
from registry_auditor.weights.readable import readable, scripts
from registry_auditor.weights.vocabulary import open_vocabulary

LINES = ["the quick brown fox jumps over the lazy dog", "Привет, мир! 你好 €5\n", "naïve café: the the the 😀"] * 8


def byte_level(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def llama_style(folder: Path) -> Tokenizer:
    pieces = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": byte + 3 for byte in range(256)}}
    for piece in ("▁", "t", "h", "e", "▁t", "he", "▁the"):
        pieces[piece] = len(pieces)
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he")]
    tokenizer = Tokenizer(models.BPE(pieces, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def test_byte_level_symbols_become_the_characters_they_stand_for(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path)
    vocabulary = open_vocabulary(tmp_path)
    assert vocabulary.size == tokenizer.get_vocab_size()
    assert vocabulary.text(tokenizer.token_to_id("Ġthe")) == " the"
    assert vocabulary.text(tokenizer.token_to_id("<|im_start|>")) == "<|im_start|>"
    assert vocabulary.text(tokenizer.token_to_id("Ċ")) == "\\n"


def test_every_token_of_real_text_joins_up_to_the_text(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path)
    vocabulary = open_vocabulary(tmp_path)
    text = "the lazy café jumps"
    assert "".join(vocabulary.text(i) for i in tokenizer.encode(text).ids) == text


def test_half_a_character_is_shown_as_its_bytes(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path)
    assert open_vocabulary(tmp_path).text(tokenizer.token_to_id("â")) == "⟨E2⟩"


def test_metaspace_and_byte_fallback_become_readable(tmp_path: Path) -> None:
    tokenizer = llama_style(tmp_path)
    vocabulary = open_vocabulary(tmp_path)
    texts = [vocabulary.text(i) for i in tokenizer.encode(" the €").ids]
    assert texts == [" the", " ", "⟨E2⟩", "⟨82⟩", "⟨AC⟩"]
    assert vocabulary.text(1) == "<s>"
    assert vocabulary.text(3 + 0x0A) == "\\n"


def test_unigram_vocabularies_are_read(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁the", -1.0), ("s", -2.0)], unk_id=0))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert open_vocabulary(tmp_path).text(1) == " the"


def test_a_sentencepiece_model_reads_as_its_library_does(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(LINES))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "tokenizer"), vocab_size=320, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.vocab").unlink()
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    vocabulary = open_vocabulary(tmp_path)
    assert vocabulary.size == library.get_piece_size()
    for i in range(3 + 256, vocabulary.size):  # after the control pieces and the bytes
        assert vocabulary.text(i) == library.id_to_piece(i).replace("▁", " ")
    assert vocabulary.text(library.piece_to_id("<0xE2>")) == "⟨E2⟩"


def test_the_older_layouts_are_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"Ġthe": 0, "ing": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<extra>": 2}))
    table = {"3": {"content": "<|tool|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": table}))
    vocabulary = open_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(5)] == [" the", "ing", "<extra>", "<|tool|>", "⟨unused 4⟩"]
    assert vocabulary.size == 4


def test_word_pieces_keep_their_mark(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\nthe\n##ing\n")
    vocabulary = open_vocabulary(tmp_path)
    assert [vocabulary.text(i) for i in range(vocabulary.size)] == ["[PAD]", "the", "##ing"]


def test_nothing_hidden_survives_in_readable_text() -> None:
    assert readable("a\u202eb\u200bc\u00a0d\ufe0f") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+00A0⟩d⟨U+FE0F⟩"
    assert readable("\x1b[31m\\n\n") == "⟨U+001B⟩[31m\\\\n\\n"
    assert readable(b"\xe2\x80 ok") == "⟨E2 80⟩ ok"


def test_a_token_of_a_megabyte_is_cut(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("x" * 2**20)
    assert open_vocabulary(tmp_path).text(0) == "x" * 64 + "…"
    assert readable("é".encode() * 2**20) == "é" * 64 + "…"


def test_a_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no tokenizer"):
        open_vocabulary(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"model": 3}',
        '{"model": {"vocab": {"a": -1}}}',
        '{"model": {"vocab": {"a": 1e12}}}',
        '{"model": {"vocab": {"a": true}}}',
        '{"model": {"vocab": {"a": 99999999999}}}',
        '{"model": {"vocab": {}}, "added_tokens": [{"content": "x", "id": "0"}]}',
    ],
)
def test_hostile_json_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(WeightsError):
        open_vocabulary(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        '{"model": {"vocab": {"a": 0}}, "decoder": {"type": "Sequence", "decoders": 7}}',
        '{"model": {"vocab": [["a", 0], 3, [], [[], 1]]}, "added_tokens": [7, {"id": 1}]}',
        '{"model": {"vocab": {"a": 0}}, "decoder": ' + '{"decoders": [' * 400 + "]}" * 400 + "}",
    ],
)
def test_nonsense_around_a_usable_vocabulary_does_no_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    assert open_vocabulary(tmp_path).text(0) == "a"


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x0a\xff\xff\xff\x7fx", b"\x0b", b"AAAA 0\nAAAB 1\n"])
def test_what_is_no_sentencepiece_model_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(WeightsError, match="SentencePiece"):
        open_vocabulary(tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secret.json"
    outside.write_text('{"model": {"vocab": {"a": 0}}}')
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").symlink_to(outside)
    with pytest.raises(WeightsError, match="out of the folder"):
        open_vocabulary(folder)


def test_scripts_are_counted_without_what_was_spelt_out() -> None:
    text = readable("the мир 你好 42 $! ｆ\u202e\n") + readable(b"\xe2\x80")
    assert scripts(text) == {"Latin": 4, "Cyrillic": 3, "Han": 2, "digits": 2, "symbols": 2}
    assert scripts("こカ한ع") == {"Hiragana": 1, "Katakana": 1, "Hangul": 1, "Arabic": 1}
