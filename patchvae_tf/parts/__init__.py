"""Finding parts before any is learned, and teaching them: what stands behind `teaching_weight`.

    images -> edges -> windows centred on things -> candidates, matched -> templates
    a step's images -> edges -> templates found -> which part each place is to show

`edges` says what windows are compared by, `templates` how, `discovery` which become parts, and
`teacher` what a PatchVAE learns from them.
"""
