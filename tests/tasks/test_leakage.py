import numpy as np
import pandas as pd
import pytest

from unfused.tasks.leakage import LeakError, check_no_leak


def clips(*rows: tuple[str, str], **columns: list) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["clip_id", "digest"])
    return table.assign(corpus="speech", **columns)


def test_disjoint_clips_pass():
    check_no_leak(clips(("a", "1"), ("b", "2")), clips(("c", "3")))


def test_a_shared_clip_is_named():
    with pytest.raises(LeakError, match=r"1 of the 2 clips .* such as b \(trained on: speech\)"):
        check_no_leak(clips(("a", "1"), ("b", "2")), clips(("c", "3"), ("b", "2")))


def test_the_same_audio_under_another_name_is_a_leak():
    with pytest.raises(LeakError, match="such as copy"):
        check_no_leak(clips(("a", "1")), clips(("copy", "1")).drop(columns="corpus"))


def test_other_parts_of_a_file_are_no_leak_where_positions_are_known():
    seen = clips(("a", "1"), offset=[0], frames=[100])
    check_no_leak(seen, clips(("b", "1"), offset=[100], frames=[50]))
    with pytest.raises(LeakError, match="such as b"):
        check_no_leak(seen, clips(("b", "1"), offset=[99], frames=[50]))


def test_a_file_whose_part_is_not_known_counts_whole():
    part = clips(("b", "1"), offset=[100], frames=[50])
    with pytest.raises(LeakError, match="such as b"):
        check_no_leak(clips(("a", "1"), offset=[np.nan], frames=[np.nan]), part)
    with pytest.raises(LeakError, match="such as a"):
        check_no_leak(part, clips(("a", "1"), offset=[np.nan], frames=[np.nan]))


def test_clips_without_a_digest_do_not_match_each_other():
    check_no_leak(clips(("a", ""), ("b", None)), clips(("c", ""), ("d", None)))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"trained_on lacks the columns \['digest'\]"):
        check_no_leak(clips(("a", "1")).drop(columns="digest"), clips(("b", "2")))
