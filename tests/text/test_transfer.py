"""Speed and time left of a download."""

from __future__ import annotations

from studio.text.transfer import TransferRate

MB = 1 << 20


def test_speed_and_time_left_follow_from_the_last_seconds() -> None:
    rate = TransferRate()
    assert rate.text(100 * MB, 1000 * MB, now=0.0) == ""
    assert rate.text(102 * MB, 1000 * MB, now=0.5) == ""  # too soon to tell
    assert rate.text(120 * MB, 1000 * MB, now=2.0) == "10 MB/s, 1 min 28 s left"
    for second in range(3, 30):
        text = rate.text((120 + 20 * (second - 2)) * MB, 1000 * MB, now=float(second))
    assert text == "20 MB/s, 17 s left"  # what it was before is forgotten


def test_a_stalled_download_has_no_time_left_and_one_that_begins_anew_is_measured_anew() -> None:
    rate = TransferRate()
    rate.text(10 * MB, 100 * MB, now=0.0)
    assert rate.text(10 * MB, 100 * MB, now=5.0) == "0 B/s"
    assert rate.text(0, 100 * MB, now=6.0) == ""
    assert rate.text(30 * MB, 100 * MB, now=9.0) == "10 MB/s, 7 s left"
    assert rate.text(100 * MB, 100 * MB, now=16.0) == "10 MB/s"
