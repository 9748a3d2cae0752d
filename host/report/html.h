/**
 * The report: one HTML file that holds all it shows. No script, nothing loaded from elsewhere: style sheet,
 * charts (SVG) and images (PNG, base64) are in it. It follows the reader's light or dark setting, prints,
 * and fits a phone. All texts are escaped. Equal folders give equal bytes.
 *
 *   results, charts of the main measures with every seed, images beside the full-precision ones from the
 *   same noise, noise-prediction error by step, gradient cosines between timestep groups, sample weights
 *   by timestep, block losses, what the arms differ in, runs with times, how to repeat them
 *
 * A part that no run has numbers for is left out.
 */
#ifndef DMQ_REPORT_HTML_H
#define DMQ_REPORT_HTML_H

#include "report/results.h"

/** The page's text; the caller frees. EDATA when columns would mix metrics, or a file is damaged. */
dmq_status dmq_html_render(char **out, const dmq_results *all);

#endif
