"""The engine: how a record is carried once and only once (ENGINE.md).

`work.process` is the one loop; `run.Run` is what a flow's code speaks to; `effects` holds what must not be
done twice; `outcomes` decides from an error class what comes next; `polling` finds work.
"""
