"""What a stack costs in a month: its recorded graph, a load that is assumed and written down, and a table of prices."""
