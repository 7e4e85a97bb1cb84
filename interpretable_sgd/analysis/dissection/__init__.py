"""Network dissection: which concept each unit of a layer shows, and whether that beats chance."""
