// How many rows the warehouse had of a slot whose events are all in the graph now. Written after them: a job that is
// killed in between reads the slot again, which changes nothing.
UNWIND $marks AS row
MERGE (mark:Watermark {name: row.name})
SET mark.rowCount = row.rowCount
