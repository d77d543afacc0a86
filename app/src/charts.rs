//! Charts: the math is pure and tested natively; the components only draw what [`picture`] says.

pub mod histogram;
pub mod length_chart;
pub mod line_chart;
pub mod metric;
pub mod picture;
pub mod scale;
pub mod series;
