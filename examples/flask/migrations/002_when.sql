alter table notes add column written_at text not null default '';
