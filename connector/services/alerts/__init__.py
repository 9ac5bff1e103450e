"""Tell people of trouble without being asked: find it, group it, send it to the channels that want it.

`looking` finds, `raising` groups and counts, `telling` decides who hears of it when, `sending` sends, `channels` is
where staff set up to whom.
"""
