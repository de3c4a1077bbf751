//! Libraries, each with the settings that suit this work best as far as its
//! documentation tells.

use std::path::Path;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use redb::{Durability, ReadableDatabase, TableDefinition};

use crate::store::{GROUP, Result, Store, decode, event};

fn key(stream: usize, position: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(stream as u64).to_be_bytes());
    key[8..].copy_from_slice(&position.to_be_bytes());
    key
}

// === raft-engine ===

pub struct Raft(Engine);

/// Its entries are messages that know their position: here in front.
struct Positioned;

impl MessageExt for Positioned {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let start = entry.value.first_chunk();
        start.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Raft {
    pub fn open(path: &Path) -> Result<Self> {
        let config = Config {
            dir: path.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize::mb(32),
            purge_threshold: ReadableSize::mb(64),
            ..Config::default()
        };
        Ok(Self(Engine::open(config)?))
    }
}

fn region(stream: usize) -> u64 {
    stream as u64 + 1
}

impl Store for Raft {
    fn append(&mut self, position: u64, low: u64) -> Result<()> {
        let mut batch = LogBatch::with_capacity(GROUP);
        for stream in 0..GROUP {
            let mut entry = BytesValue::new();
            entry.value.extend_from_slice(&position.to_le_bytes());
            entry.value.extend_from_slice(&event(position, low));
            batch.add_entries::<Positioned>(region(stream), &[entry])?;
        }
        self.0.write(&mut batch, false)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    fn trim(&mut self, low: u64) -> Result<()> {
        for stream in 0..GROUP {
            self.0.compact_to(region(stream), low + 1);
        }
        self.0.purge_expired_files()?;
        Ok(())
    }

    fn replay(&mut self, stream: usize, events: u64) -> Result<u64> {
        let mut entries = Vec::new();
        let (region, end) = (region(stream), events + 1);
        self.0
            .fetch_entries_to::<Positioned>(region, 1, end, None, &mut entries)?;
        let mut count = 0;
        for entry in entries {
            decode(Bytes::from(entry.value).slice(8..))?;
            count += 1;
        }
        Ok(count)
    }
}

// === fjall ===

pub struct Fjall {
    database: Database,
    records: Keyspace,
    /// Everything up to here was removed.
    low: u64,
}

impl Fjall {
    pub fn open(path: &Path) -> Result<Self> {
        let database = Database::builder(path).open()?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
        Ok(Self {
            database,
            records,
            low: 0,
        })
    }
}

impl Store for Fjall {
    fn append(&mut self, position: u64, low: u64) -> Result<()> {
        let mut batch = self.database.batch();
        for stream in 0..GROUP {
            let record = event(position, low);
            batch.insert(&self.records, key(stream, position), &record[..]);
        }
        Ok(batch.commit()?)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn trim(&mut self, low: u64) -> Result<()> {
        let mut batch = self.database.batch();
        for stream in 0..GROUP {
            for position in self.low + 1..=low {
                batch.remove(&self.records, key(stream, position));
            }
        }
        self.low = low;
        Ok(batch.commit()?)
    }

    fn replay(&mut self, stream: usize, events: u64) -> Result<u64> {
        let mut count = 0;
        for entry in self.records.range(key(stream, 1)..=key(stream, events)) {
            let (_, value) = entry.into_inner()?;
            decode(Bytes::copy_from_slice(&value))?;
            count += 1;
        }
        Ok(count)
    }
}

// === redb ===

/// Of what is not synced it keeps nothing beyond the process, so without a sync
/// for each group it promises less than the others. It is measured all the same.
pub struct Redb(redb::Database);

const RECORDS: TableDefinition<'_, [u8; 16], &[u8]> = TableDefinition::new("records");

impl Redb {
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(redb::Database::create(path.join("redb"))?))
    }

    fn begin(&self) -> Result<redb::WriteTransaction> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::None)?;
        Ok(transaction)
    }
}

impl Store for Redb {
    fn append(&mut self, position: u64, low: u64) -> Result<()> {
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for stream in 0..GROUP {
                let record = event(position, low);
                table.insert(key(stream, position), &record[..])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.0.begin_write()?.commit()?)
    }

    fn trim(&mut self, low: u64) -> Result<()> {
        let transaction = self.begin()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for stream in 0..GROUP {
                table.retain_in(key(stream, 0)..=key(stream, low), |_, _| false)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn replay(&mut self, stream: usize, events: u64) -> Result<u64> {
        let transaction = self.0.begin_read()?;
        let table = transaction.open_table(RECORDS)?;
        let mut count = 0;
        for entry in table.range(key(stream, 1)..=key(stream, events))? {
            let (_, value) = entry?;
            decode(Bytes::copy_from_slice(value.value()))?;
            count += 1;
        }
        Ok(count)
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        let _ = self.sync();
    }
}
