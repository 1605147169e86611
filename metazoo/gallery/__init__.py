"""The gallery: a page that shows the policies of a server, and lets a visitor watch one adapt."""
