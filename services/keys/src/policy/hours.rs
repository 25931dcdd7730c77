//! Hours of the week, in UTC: when a rule speaks.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, Weekday};

/// Minutes of a day: the end of the last hour.
const DAY: u16 = 24 * 60;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Some hours of some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Never empty.
    pub days: Vec<Day>,
    /// Minute of the day, from which on.
    pub from: u16,
    /// Minute of the day, before which.
    pub to: u16,
}

/// As it stands in TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HoursText {
    /// Empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// `HH:MM`, UTC; empty for the beginning of the day.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `HH:MM`, UTC, `24:00` for the end of the day.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}

impl Day {
    const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn of(weekday: Weekday) -> Self {
        Self::ALL[usize::from(weekday.number_days_from_monday())]
    }
}

impl HoursText {
    /// The hours, or the text that is none.
    pub fn check(self) -> Result<Hours, String> {
        let Self { days, from, to } = self;
        let beginning = if from.is_empty() { Some(0) } else { minute(&from) };
        let end = if to.is_empty() { Some(DAY) } else { minute(&to) };
        let days = if days.is_empty() { Day::ALL.to_vec() } else { days };
        match (beginning, end) {
            (None, _) => Err(from),
            (_, None) => Err(to),
            (Some(from), Some(end)) if from < end => Ok(Hours { days, from, to: end }),
            _ => Err(format!("{from} to {to}")),
        }
    }
}

impl Hours {
    /// Whether this moment is within.
    pub fn contain(&self, now: OffsetDateTime) -> bool {
        let now = now.to_offset(time::UtcOffset::UTC);
        let minute = u16::from(now.hour()) * 60 + u16::from(now.minute());
        self.days.contains(&Day::of(now.weekday())) && self.from <= minute && minute < self.to
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, from, to } = self;
        for day in days {
            write!(f, "{} ", format!("{day:?}").to_lowercase())?;
        }
        write!(f, "{:02}:{:02} to {:02}:{:02} UTC", from / 60, from % 60, to / 60, to % 60)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}
