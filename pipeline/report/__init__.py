"""The page people look at: one committed run, or two beside each other, as one HTML file that needs nothing but a browser.

opened.py     an output folder, a run's folder or its manifest ─▶ the committed run
one_run.py ─▶ notable.py   which restaurants are shown where there are too many
              entries.py   what each of them opens to, with the reviews behind it (cited.py, passages.py), its peers (praised.py)
              figures.py   distributions, rejects, flags, when restaurants were complete
              spent.py     where tokens and time went
              charts.py    figures to SVG
two_runs.py ─▶ moved.py    which restaurants have changed, and whether their reviews have
               between.py  what was set otherwise
page.py       templates to one file, values to words (formats.py); text from reviews and models is never trusted
"""
