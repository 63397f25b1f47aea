import pytest

from unfused.demo.soundfont import SoundFontError, read_soundfont, sharing_groups

MONO, RIGHT, LEFT, ROM = 1, 2, 4, 0x8001


def test_programmes_sound_the_samples_of_all_their_instruments(make_soundfont):
    path = make_soundfont(
        [(0, 100, 0, MONO), (146, 200, 0, MONO), (246, 300, 0, MONO)],
        [[0], [1, 2], [2]],
        [(0, 5, [0, 2]), (0, 3, [1]), (128, 0, [0])],
    )
    soundfont = read_soundfont(path)
    assert soundfont.name == "tiny"
    assert soundfont.n_samples == 3
    assert soundfont.programmes() == {3: {"s1", "s2"}, 5: {"s0", "s2"}}
    assert list(soundfont.programmes()) == [3, 5]
    assert soundfont.programmes(bank=128) == {0: {"s0"}}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100, 0, MONO), (146, 200, 0, MONO)], ["s0", "s1"]),  # apart
        ([(0, 100, 0, MONO), (0, 100, 0, MONO)], ["s0", "s0"]),  # two headers, one range
        ([(50, 100, 0, MONO), (0, 51, 0, MONO)], ["s0", "s0"]),  # overlapping by one value
        ([(0, 100, 0, MONO), (100, 200, 0, MONO)], ["s0", "s1"]),  # touching
        ([(0, 100, 1, RIGHT), (146, 200, 0, LEFT)], ["s0", "s0"]),  # a stereo pair
        ([(0, 100, 1, MONO), (146, 200, 0, MONO)], ["s0", "s1"]),  # mono samples have no link
        ([(0, 100, 0, MONO), (0, 100, 0, ROM)], ["s0", "s1"]),  # ROM is another address space
        # a long sample holds two that do not touch each other
        ([(0, 10, 0, MONO), (0, 500, 0, MONO), (300, 400, 0, MONO)], ["s0", "s0", "s0"]),
    ],
)
def test_headers_that_share_sound_data_are_one_recording(make_soundfont, samples, expected):
    n = len(samples)
    path = make_soundfont(samples, [[at] for at in range(n)], [(0, at, [at]) for at in range(n)])
    assert read_soundfont(path).programmes() == {at: {name} for at, name in enumerate(expected)}


def test_groups_are_connected_components():
    samples = {4: {"a"}, 1: {"a", "b"}, 2: {"b"}, 9: {"c"}, 0: {"d", "e"}, 7: {"e"}}
    assert sharing_groups(samples) == [[0, 7], [1, 2, 4], [9]]
    assert sharing_groups({3: set(), 2: set()}) == [[2], [3]]


def test_damaged_files_are_named_with_the_reason(make_soundfont, tmp_path):
    whole = make_soundfont([(0, 100, 0, MONO)], [[0]], [(0, 0, [0])]).read_bytes()
    damaged = {
        "does not begin with RIFF": b"RIFF....WAVE",
        "is cut short": whole[:-10],
        "has no chunk 'shdr'": whole.replace(b"shdr", b"none"),
        "no positive multiple of 46": whole.replace(
            b"shdr" + (92).to_bytes(4, "little"), b"shdr" + (90).to_bytes(4, "little")
        ),
    }
    for reason, content in damaged.items():
        path = tmp_path / "damaged.sf2"
        path.write_bytes(content)
        with pytest.raises(SoundFontError, match=reason) as caught:
            read_soundfont(path)
        assert str(path) in str(caught.value)


def test_a_sample_that_is_not_there_is_an_error(make_soundfont):
    path = make_soundfont([(0, 100, 0, MONO)], [[7]], [(0, 0, [0])])
    with pytest.raises(SoundFontError, match="does not hold"):
        read_soundfont(path)


def test_timgm6mb_has_47_groups_among_86_melodic_programmes():
    from unfused.demo.casting import read_families
    from unfused.demo.note_rendering import find_soundfont

    pytest.importorskip("pretty_midi")
    pytest.importorskip("midirenderer")
    soundfont = read_soundfont(find_soundfont())
    programmes = soundfont.programmes()
    families = read_families()
    assert soundfont.name == "TimGM6mb"
    assert soundfont.n_samples == 520
    assert sorted(programmes) == list(range(128))
    assert len(families) == 86
    groups = sharing_groups({programme: programmes[programme] for programme in families})
    assert len(groups) == 47
    assert [0, 1, 2, 3] in groups  # the four pianos are one recording
    assert [40, 41] in groups  # violin and viola
