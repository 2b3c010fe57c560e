"""Reports for people: one self-contained HTML file of tables, charts and pictures, and charts as a PNG file."""
