// What of the warehouse is in the graph now, as its reader describes it. Written last: who is killed before does it again.
MERGE (mark:Watermark {name: $name})
SET mark.state = $state
